import { isIPv6 } from 'node:net';
import { AppError } from '../domain/errors.ts';
import { createRateLimit, type RateLimit } from '../domain/rate-limit.ts';

/** Wrong logins from one address, whoever they are for. */
const PER_ADDRESS = { burst: 30, perMinute: 30 } as const;
/** Wrong logins for one username, wherever they come from. */
const PER_USERNAME = { burst: 10, perMinute: 10 } as const;

/** Slows down whoever guesses passwords. Counts in the memory of this process. */
export interface LoginGuard {
  /**
   * Counts an attempt before its password is looked at, so that many at once count as well.
   * @returns takes the attempt back; call it when the password was right
   * @throws {AppError} `too_many_requests`
   */
  admit(username: string, remoteAddress: string | null): () => void;
  /** How often a failure is written down. */
  readonly auditThrottle: RateLimit;
}

export function createLoginGuard(): LoginGuard {
  const addresses = createRateLimit(PER_ADDRESS);
  const usernames = createRateLimit(PER_USERNAME);
  return {
    admit: (username, remoteAddress) => {
      const now = Date.now();
      const address = addressKey(remoteAddress ?? '');
      const waitMs = addresses.take(address, now) || usernames.take(username, now);
      if (waitMs > 0) throw tooMany(Math.ceil(waitMs / 1000));
      return () => {
        addresses.giveBack(address);
        usernames.giveBack(username);
      };
    },
    auditThrottle: createRateLimit({ burst: 1, perMinute: 1 }),
  };
}

function tooMany(seconds: number): AppError {
  return new AppError(
    'too_many_requests',
    `Too many wrong logins; wait ${seconds} ${seconds === 1 ? 'second' : 'seconds'}, then try again.`,
    { details: { retry_after_seconds: seconds }, retryable: true },
  );
}

/** Who has one IPv6 address has the 2^64 of its network. */
function addressKey(address: string): string {
  if (!isIPv6(address)) return address;
  const mapped = /^::ffff:([\d.]+)$/i.exec(address);
  if (mapped?.[1] !== undefined) return mapped[1];
  const [head = '', tail = ''] = address.split('::');
  const front = head === '' ? [] : head.split(':');
  const back = tail === '' ? [] : tail.split(':');
  const zeros = Array.from({ length: Math.max(0, 8 - front.length - back.length) }, () => '0');
  return [...front, ...zeros, ...back].slice(0, 4).join(':');
}
