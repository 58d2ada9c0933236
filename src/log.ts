import { type DestinationStream, type Logger, pino } from 'pino';

/**
 * The log of a process: JSON lines on standard error. `error`: a person must act now; `warn`: Muster helps itself, or
 * somebody else's part is down; `info`: something changed; `debug`: the rest.
 */
export function createLog(
  level: string,
  destination: DestinationStream = pino.destination(2),
): Logger {
  return pino(
    {
      level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      serializers: { err: toLogged },
      // Among the headers of a request is its token, and the plugin for uploads logs them all at the level trace.
      redact: { paths: ['headers', '*.headers'], remove: true },
    },
    destination,
  );
}

interface LoggedError {
  readonly type: string;
  readonly message: string;
  readonly code?: string;
  readonly stack?: string;
  readonly cause?: LoggedError;
}

/**
 * What is logged of an error: these fields and no others. Drivers hang all kinds of things on theirs, such as the
 * command that failed with its arguments, of which one may be a password.
 */
function toLogged(thrown: unknown, depth = 0): LoggedError {
  if (!(thrown instanceof Error)) return { type: typeof thrown, message: String(thrown) };
  const { name, message, stack, cause } = thrown;
  return {
    type: name,
    message,
    ...('code' in thrown && typeof thrown.code === 'string' ? { code: thrown.code } : {}),
    ...(stack === undefined ? {} : { stack }),
    ...(cause instanceof Error && depth < 3 ? { cause: toLogged(cause, depth + 1) } : {}),
  };
}
