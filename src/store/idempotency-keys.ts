import type { Db } from './database.ts';
import { notify } from './events.ts';
import type { IdempotencyKey } from './generated/client.ts';
import { toJson } from './json.ts';

export type IdempotencyKeyRow = IdempotencyKey;

/** How long a reply is kept for a request that comes again. Source: API.md, "Conventions". */
const KEPT_HOURS = 24;

/**
 * A key without a reply is that of a request under way, or of a process that died. No request takes this long,
 * and if one did, the state it works on would refuse the second one.
 */
const ABANDONED_MINUTES = 10;

export interface KeyedRequest {
  readonly userId: string;
  readonly key: string;
  readonly requestHash: string;
}

export interface KeptReply {
  readonly statusCode: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** Takes a key for a request. @returns null if it is taken now, else the row of the request that has it */
export async function takeKey(db: Db, request: KeyedRequest): Promise<IdempotencyKeyRow | null> {
  const { userId, key } = request;
  for (;;) {
    if (await insertKey(db, request)) return null;
    const row = await db.idempotencyKey.findUnique({ where: { userId_key: { userId, key } } });
    // Given back in this very moment, it is free again.
    if (row !== null) return row;
  }
}

async function insertKey(db: Db, { userId, key, requestHash }: KeyedRequest): Promise<boolean> {
  const count = await db.$executeRaw`
    insert into idempotency_keys as k (user_id, key, request_hash)
    values (${userId}::uuid, ${key}, ${requestHash})
    on conflict (user_id, key) do update
       set request_hash = excluded.request_hash, status_code = null, headers = null, body = null,
           created_at = now()
     where k.created_at < now() - make_interval(hours => ${KEPT_HOURS})
        or (k.status_code is null
            and k.created_at < now() - make_interval(mins => ${ABANDONED_MINUTES}))`;
  return count === 1;
}

/** What those listen for who wait for the reply to a request of this key. */
export function replyTopic({ userId, key }: KeyedRequest): string {
  return `reply ${userId} ${key}`;
}

/**
 * Keeps the reply to the request that has the key, and tells who waits for it.
 * @param knownHash what is to stand for the request from now on, as more of it is known than at its beginning
 */
export async function keepReply(
  db: Db,
  request: KeyedRequest,
  { reply, knownHash }: { readonly reply: KeptReply; readonly knownHash: string },
): Promise<void> {
  const { userId, key, requestHash } = request;
  const { statusCode, body } = reply;
  await db.idempotencyKey.updateMany({
    where: { userId, key, requestHash, statusCode: null },
    data: { requestHash: knownHash, statusCode, headers: toJson(reply.headers), body },
  });
  await notify(db, replyTopic(request));
}

/** Gives a key back: its request came to nothing and may be sent again. */
export async function releaseKey(db: Db, request: KeyedRequest): Promise<void> {
  const { userId, key, requestHash } = request;
  await db.idempotencyKey.deleteMany({ where: { userId, key, requestHash, statusCode: null } });
  await notify(db, replyTopic(request));
}

/** Forgets the replies whose time is over. */
export async function deleteExpiredKeys(db: Db): Promise<void> {
  await db.$executeRaw`
    delete from idempotency_keys where created_at < now() - make_interval(hours => ${KEPT_HOURS})`;
}
