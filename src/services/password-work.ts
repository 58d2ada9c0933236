import { createLimiter } from '../depot/limiter.ts';
import { AppError } from '../domain/errors.ts';
import {
  hashPassword,
  MAX_PASSWORD_LENGTH,
  MIN_PASSWORD_LENGTH,
  verifyPassword,
} from '../domain/passwords.ts';

/** Each takes 32 MiB and a thread of the four that files and names are also read with. */
const MAX_AT_ONCE = 2;
/** Some ten seconds of work. */
const MAX_WAITING = 100;

// One budget for the process, as its memory and threads are one.
const limiter = createLimiter(MAX_AT_ONCE);
let underWay = 0;

/**
 * Checks a new password and hashes it.
 * @throws {AppError} `invalid_input` if it is too short or too long, `too_many_requests`
 */
export function hashNewPassword(password: string): Promise<string> {
  // Characters as people count them, not UTF-16 units.
  const length = [...password].length;
  if (length < MIN_PASSWORD_LENGTH || length > MAX_PASSWORD_LENGTH) {
    throw new AppError(
      'invalid_input',
      `The password has ${length < MIN_PASSWORD_LENGTH ? 'too few' : 'too many'} characters; give one of ${MIN_PASSWORD_LENGTH} to ${MAX_PASSWORD_LENGTH}.`,
      { details: { min_length: MIN_PASSWORD_LENGTH, max_length: MAX_PASSWORD_LENGTH } },
    );
  }
  return inTurn(() => hashPassword(password));
}

/** Whether it is the password of the hash; takes as long where there is none. @throws {AppError} `too_many_requests` */
export function checkPassword(password: string, hash: string | null): Promise<boolean> {
  return inTurn(() => verifyPassword(password, hash));
}

async function inTurn<T>(work: () => Promise<T>): Promise<T> {
  if (underWay >= MAX_AT_ONCE + MAX_WAITING) {
    throw new AppError('too_many_requests', 'Too many logins are under way; try again soon.', {
      details: { retry_after_seconds: 5 },
      retryable: true,
    });
  }
  underWay += 1;
  try {
    return await limiter.run(work);
  } finally {
    underWay -= 1;
  }
}
