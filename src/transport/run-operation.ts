import type { z } from 'zod';
import { AppError } from '../domain/errors.ts';
import { failureAnswerSchema, type RemoteScript } from '../remote/script.ts';
import type { Connection, RunOptions, RunResult } from './connection.ts';
import { holdBackAnswer } from './hold-back-answer.ts';

/** How much of what a server said goes into an error. */
const WORDS_CHARACTERS = 2000;

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
