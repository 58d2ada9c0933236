import { z } from 'zod';
import { AppError } from '../domain/errors.ts';
import * as store from '../store/idempotency-keys.ts';
import type { ServiceContext } from './context.ts';

export type { KeyedRequest } from '../store/idempotency-keys.ts';

const Headers = z.record(z.string(), z.string());

/**
 * Begins a request that carries an Idempotency-Key.
 * @returns null if it is to be done now; else the reply that the same request was given before
 * @throws {AppError} `idempotency_key_reused` if another request had the key, `conflict` if the same one is under way
 */
export async function beginRequest(
  context: ServiceContext,
  request: store.KeyedRequest,
): Promise<store.KeptReply | null> {
  const { db } = context.database;
  await store.deleteExpiredKeys(db);
  const first = await store.takeKey(db, request);
  if (first === null) return null;
  if (first.requestHash !== request.requestHash) {
    throw new AppError(
      'idempotency_key_reused',
      'This Idempotency-Key was used for another request within 24 hours; use a new key for each different request.',
    );
  }
  if (first.statusCode === null) {
    throw new AppError(
      'conflict',
      'The first request with this Idempotency-Key is still under way; wait for its reply, then send it again.',
      { retryable: true },
    );
  }
  return {
    statusCode: first.statusCode,
    headers: Headers.parse(first.headers),
    body: first.body ?? '',
  };
}

/** Keeps the reply of a request that `beginRequest` let through. */
export async function keepReply(
  context: ServiceContext,
  request: store.KeyedRequest,
  reply: store.KeptReply,
): Promise<void> {
  await store.keepReply(context.database.db, request, reply);
}

/** Forgets a request that `beginRequest` let through and that came to nothing. */
export async function abandonRequest(
  context: ServiceContext,
  request: store.KeyedRequest,
): Promise<void> {
  await store.releaseKey(context.database.db, request);
}
