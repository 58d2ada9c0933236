import type { z } from 'zod';
import { AppError } from '../domain/errors.ts';
import { failureAnswerSchema, type RemoteScript } from '../remote/script.ts';
import type { Connection, RunOptions, RunResult } from './connection.ts';
import { cutText, type TextPiece } from './text-pieces.ts';

/** How much of what a server said goes into an error. */
const WORDS_CHARACTERS = 2000;
/** A line that may be the answer is held back from `onOutput`, but no more than this of it. */
const MAX_ANSWER_BYTES = 1_048_576;

/** A piece of what a script says beside its answer. */
export interface OperationOutput {
  readonly stream: 'stdout' | 'stderr';
  readonly text: string;
  /** How many bytes of standard output have been told, with this one. */
  readonly toldBytes: number;
}

/** How an operation is run. */
export interface OperationOptions extends Omit<RunOptions, 'onOutput' | 'onStdout'> {
  /** Told of every piece of output as it comes, whole characters only, at most 16 KiB of standard output at once. */
  readonly onOutput?: (output: OperationOutput) => void;
}

/**
 * Run a script and read its answer, the last line of its output. `onOutput` is not told of that line.
 * @throws {AppError} what the script answered, if that is a failure; `command_failed` (with `details.stderr`) if it
 *   answered nothing or something else; and what `Connection.run` throws
 */
export async function runOperation<Schema extends z.ZodType>(
  connection: Connection,
  script: RemoteScript,
  answerSchema: Schema,
  options: OperationOptions,
): Promise<z.output<Schema>> {
  const { onOutput, ...rest } = options;
  if (onOutput === undefined) {
    return readAnswer(script, answerSchema, await connection.run(script, rest));
  }
  let toldBytes = 0;
  const withoutAnswer = holdBackAnswer(({ text, bytes }) => {
    toldBytes += bytes;
    onOutput({ stream: 'stdout', text, toldBytes });
  });
  const result = await connection.run(script, {
    ...rest,
    onStdout: withoutAnswer.push,
    onOutput: ({ stream, text }) => {
      if (stream === 'stderr') onOutput({ stream, text, toldBytes });
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

const LINE_END = 0x0a;
const BRACE = 0x7b;

/** Passes output on, save a last line that looks like an answer and the line end that states put before it. */
function holdBackAnswer(onText: (piece: TextPiece) => void): {
  push(bytes: Buffer): void;
  end(): void;
} {
  let held: Buffer = Buffer.alloc(0);
  const pass = (end: number): void => {
    for (const piece of cutText(held.subarray(0, end))) {
      onText(piece);
      held = held.subarray(piece.bytes);
    }
  };
  return {
    push: (bytes) => {
      held = Buffer.concat([held, bytes]);
      const start = held.length < 2 ? 0 : Math.max(0, held.lastIndexOf(LINE_END, -2));
      const first = held[start] === LINE_END ? start + 1 : start;
      const mayBeAnswer = first >= held.length || held[first] === BRACE;
      pass(mayBeAnswer && held.length - start < MAX_ANSWER_BYTES ? start : held.length);
    },
    end: () => {
      if (/^\n?\{"ok":.*\}\n?$/s.test(held.toString('utf8'))) return;
      pass(held.length);
      // What is left is part of a character that never came.
      if (held.length > 0) onText({ text: held.toString('utf8'), bytes: held.length });
    },
  };
}
