import { z } from 'zod';
import { AppError } from '../domain/errors.ts';
import * as store from '../store/idempotency-keys.ts';
import type { ServiceContext } from './context.ts';
import { raceAgainst } from './race-against.ts';

export type { KeptReply, KeyedRequest } from '../store/idempotency-keys.ts';

const Headers = z.record(z.string(), z.string());

/** As long as `wait` can hold a reply, and a little. Source: API.md, "Conventions". */
const LONGEST_HELD_MS = 310_000;
/** A lost notification must not hold a caller for long. */
const RECHECK_MS = 2000;

/**
 * Between the hash of a request and the SHA-256 of what it has uploaded. That one is known only once the upload is
 * over, so it is added when the reply is kept.
 */
const CONTENT_MARK = ':';

export interface BeginOptions {
  /** Reads what the request uploads to its end and gives the SHA-256; called only to compare it with the first one's. */
  readonly readContent: () => Promise<string | null>;
  /** Ends the wait for the reply to the first request. */
  readonly signal: AbortSignal;
  /** How long to wait for that reply; default as long as a reply can be held. */
  readonly waitMs?: number;
}

/**
 * Begins a request that carries an Idempotency-Key. While the same request is under way, in whatever process, this
 * waits for its reply, and holds no connection of the database meanwhile.
 * @returns null if it is to be done now; else the reply that the same request was given before
 * @throws {AppError} `idempotency_key_reused` if another request had the key, or the same one with another upload;
 *   `conflict` if it is still under way when the time is up or the signal is aborted; what `readContent` throws
 */
export async function beginRequest(
  context: ServiceContext,
  request: store.KeyedRequest,
  { signal, readContent, waitMs = LONGEST_HELD_MS }: BeginOptions,
): Promise<store.KeptReply | null> {
  const { db } = context.database;
  await store.deleteExpiredKeys(db);
  const deadline = Date.now() + waitMs;
  let wake = (): void => {};
  const unsubscribe = context.listener.subscribe(store.replyTopic(request), () => wake());
  try {
    for (;;) {
      // Armed before the row is read, so that a reply that is kept in between is not missed.
      const changed = new Promise<void>((resolve) => {
        wake = resolve;
      });
      // Asked anew each time: should the first request come to nothing, one of those that wait is done in its place.
      const first = await store.takeKey(db, request);
      if (first === null) return null;
      const [requestHash, content] = first.requestHash.split(CONTENT_MARK);
      if (requestHash !== request.requestHash) throw reused();
      if (first.statusCode !== null) {
        if (content !== undefined && content !== (await readContent())) throw reused();
        return replyOf(first, first.statusCode);
      }
      const remainingMs = deadline - Date.now();
      if (remainingMs > 0) await raceAgainst(changed, Math.min(remainingMs, RECHECK_MS), signal);
      // Who has gone away takes no key: nobody would hear what became of the request.
      if (remainingMs <= 0 || signal.aborted) throw stillUnderWay();
    }
  } finally {
    unsubscribe();
  }
}

function reused(): AppError {
  return new AppError(
    'idempotency_key_reused',
    'This Idempotency-Key was used for another request within 24 hours; use a new key for each different request.',
  );
}

function replyOf(first: store.IdempotencyKeyRow, statusCode: number): store.KeptReply {
  return { statusCode, headers: Headers.parse(first.headers), body: first.body ?? '' };
}

function stillUnderWay(): AppError {
  return new AppError(
    'conflict',
    'The first request with this Idempotency-Key is still under way; try again in a while to get its reply.',
    { retryable: true },
  );
}

/**
 * Keeps the reply of a request that `beginRequest` let through.
 * @param contentSha256 of what it has uploaded; null if the reply does not depend on any upload
 */
export async function keepReply(
  context: ServiceContext,
  request: store.KeyedRequest,
  { reply, contentSha256 }: { reply: store.KeptReply; contentSha256: string | null },
): Promise<void> {
  const { requestHash } = request;
  const knownHash =
    contentSha256 === null ? requestHash : `${requestHash}${CONTENT_MARK}${contentSha256}`;
  await store.keepReply(context.database.db, request, { reply, knownHash });
}

/** Forgets a request that `beginRequest` let through and that came to nothing. */
export async function abandonRequest(
  context: ServiceContext,
  request: store.KeyedRequest,
): Promise<void> {
  await store.releaseKey(context.database.db, request);
}
