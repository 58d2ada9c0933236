import { z } from 'zod';
import { AppError, ERROR_CODES } from '../domain/errors.ts';
import { gitPathSchema } from './git-path.ts';

/**
 * Something to run on a server: POSIX sh text that reads its arguments as "$1", "$2"…
 * Nothing that comes from outside is ever part of `text`; it is the same for every call of an operation.
 * The script prints one JSON line as the last line of its standard output: its answer.
 */
export interface RemoteScript {
  /** What the operation is called in messages and logs. */
  readonly name: string;
  readonly text: string;
  readonly args: readonly string[];
  /** Set for the script and all that it starts. Names are `[A-Za-z_][A-Za-z0-9_]*`. */
  readonly env?: Readonly<Record<string, string>>;
}

const ENV_NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;

/**
 * Put a script together and refuse what no argv can carry.
 * @throws {AppError} `invalid_input` for a NUL character or an impossible variable name
 */
export function defineScript(script: RemoteScript): RemoteScript {
  const { name, args, env = {} } = script;
  for (const value of [...args, ...Object.values(env)]) {
    if (value.includes('\0')) {
      throw new AppError('invalid_input', `A value for ${name} has a NUL character; remove it.`);
    }
  }
  for (const variable of Object.keys(env)) {
    if (!ENV_NAME.test(variable)) {
      throw new AppError(
        'invalid_input',
        `${JSON.stringify(variable)} cannot be the name of an environment variable; use letters, digits and _.`,
      );
    }
  }
  return script;
}

/** The answer of a script that could not do what it was asked, before it becomes an `AppError`. */
export const failureAnswerSchema = z.object({
  ok: z.literal(false),
  code: z.enum(ERROR_CODES),
  message: z.string(),
  details: z
    .looseObject({ files: z.array(gitPathSchema).optional() })
    .meta({ description: 'Names of files are read from git’s quoted form.' }),
  retryable: z.boolean().optional(),
});
