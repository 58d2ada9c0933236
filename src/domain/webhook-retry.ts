/** How often one delivery is tried. With the default base of 15 seconds the last time is about a day after the first. */
export const MAX_DELIVERY_ATTEMPTS = 8;

/** Each pause is so many times the one before. */
const FACTOR = 4;
/** Up to so much of a pause is added, so that what failed together is not tried again together. */
const JITTER = 0.2;
/** A receiver that is busy may say for how long; beyond this it is not believed. */
const MAX_RETRY_AFTER_MS = 3_600_000;

/** What became of one attempt. */
export type DeliveryVerdict =
  | { readonly verdict: 'delivered' }
  | { readonly verdict: 'again'; readonly afterMs: number }
  | { readonly verdict: 'failed' }
  /** Nobody is there any more, and it said so: nothing will be sent there until a user wants it again. */
  | { readonly verdict: 'gone' };

/**
 * Judges an attempt: 2xx is delivered, 410 is gone, all else is tried again.
 * @param attempt.number from 1
 * @param attempt.status of the reply; null if there was none
 * @param attempt.random from 0 to 1
 */
export function judgeDelivery(attempt: {
  readonly number: number;
  readonly status: number | null;
  readonly retryAfterMs: number | null;
  readonly baseMs: number;
  readonly random: number;
}): DeliveryVerdict {
  const { number, status, retryAfterMs, baseMs, random } = attempt;
  if (status !== null && status >= 200 && status < 300) return { verdict: 'delivered' };
  if (status === 410) return { verdict: 'gone' };
  if (number >= MAX_DELIVERY_ATTEMPTS) return { verdict: 'failed' };
  const pauseMs = baseMs * FACTOR ** (number - 1) * (1 + JITTER * random);
  const askedMs = Math.min(retryAfterMs ?? 0, MAX_RETRY_AFTER_MS);
  return { verdict: 'again', afterMs: Math.round(Math.max(pauseMs, askedMs)) };
}
