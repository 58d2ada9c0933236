import type { z } from 'zod';
import { AppError } from '../domain/errors.ts';
import { failureAnswerSchema, type RemoteScript } from '../remote/script.ts';
import type { Connection, RunOptions, RunResult } from './connection.ts';

/** How much of what a server said goes into an error. */
const WORDS_CHARACTERS = 2000;
/** A line that may be the answer is held back from `onOutput`, but no more than this of it. */
const MAX_ANSWER_CHARACTERS = 1_048_576;

/**
 * Run a script and read its answer, the last line of its output. `onOutput` is not told of that line.
 * @throws {AppError} what the script answered, if that is a failure; `command_failed` (with `details.stderr`) if it
 *   answered nothing or something else; and what `Connection.run` throws
 */
export async function runOperation<Schema extends z.ZodType>(
  connection: Connection,
  script: RemoteScript,
  answerSchema: Schema,
  options: RunOptions,
): Promise<z.output<Schema>> {
  const { onOutput } = options;
  if (onOutput === undefined) {
    return readAnswer(script, answerSchema, await connection.run(script, options));
  }
  const withoutAnswer = holdBackAnswer((text) => onOutput({ stream: 'stdout', text }));
  const result = await connection.run(script, {
    ...options,
    onOutput: ({ stream, text }) => {
      if (stream === 'stdout') withoutAnswer.push(text);
      else onOutput({ stream, text });
    },
  });
  withoutAnswer.end();
  return readAnswer(script, answerSchema, result);
}

function readAnswer<Schema extends z.ZodType>(
  script: RemoteScript,
  answerSchema: Schema,
  result: RunResult,
): z.output<Schema> {
  const line = result.stdout.trimEnd().split('\n').at(-1) ?? '';
  const json = parseJson(line);
  const failure = failureAnswerSchema.safeParse(json);
  if (failure.success) {
    const { code, message, details, retryable } = failure.data;
    throw new AppError(code, message, { details, retryable: retryable ?? false });
  }
  const answer = answerSchema.safeParse(json);
  if (answer.success) return answer.data;
  const ending =
    result.signal === null ? `exit code ${result.exitCode}` : `signal ${result.signal}`;
  const stderr = result.stderr.trimEnd().slice(-WORDS_CHARACTERS);
  throw new AppError(
    'command_failed',
    `${script.name} ended on the server without an answer (${ending}). It said: ${stderr === '' ? 'nothing' : stderr}`,
    {
      details: {
        operation: script.name,
        exitCode: result.exitCode,
        signal: result.signal,
        stdout: line.slice(-WORDS_CHARACTERS),
        stderr,
      },
      cause: json === undefined ? undefined : answer.error,
    },
  );
}

function parseJson(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}

/** Passes text on, save a last line that looks like an answer and the line end that states put before it. */
function holdBackAnswer(onText: (text: string) => void): {
  push(text: string): void;
  end(): void;
} {
  let held = '';
  return {
    push: (text) => {
      held += text;
      const start = Math.max(0, held.lastIndexOf('\n', held.length - 2));
      const mayBeAnswer = /^\n?(\{|$)/.test(held.slice(start));
      const passed =
        mayBeAnswer && held.length - start < MAX_ANSWER_CHARACTERS ? start : held.length;
      if (passed > 0) onText(held.slice(0, passed));
      held = held.slice(passed);
    },
    end: () => {
      const rest = /^\n?\{"ok":.*\}\n?$/s.test(held) ? '' : held;
      if (rest !== '') onText(rest);
      held = '';
    },
  };
}
