import type { Db } from './database.ts';
import type { Token, User } from './generated/client.ts';
import { toJson } from './json.ts';

export type TokenRow = Token & { readonly user: User };

/** The token with this SHA-256 and its user, unless it has expired. */
export function findToken(db: Db, hash: Uint8Array<ArrayBuffer>): Promise<TokenRow | null> {
  return db.token.findFirst({
    where: { hash, OR: [{ expiresAt: null }, { expiresAt: { gt: new Date() } }] },
    include: { user: true },
  });
}

/** Serializes what makes users and tokens at the start, until the transaction ends. */
export async function lockUsers(tx: Db): Promise<void> {
  await tx.$executeRaw`select pg_advisory_xact_lock(hashtextextended('users', 0))`;
}

/** Makes the user unless there is one of that name. */
export async function ensureUser(db: Db, username: string, permissions: unknown): Promise<User> {
  await db.user.createMany({
    data: [{ username, permissions: toJson(permissions) }],
    skipDuplicates: true,
  });
  return db.user.findUniqueOrThrow({ where: { username } });
}

/** The tokens of a user with a given name. */
export function listTokensNamed(db: Db, userId: string, name: string): Promise<Token[]> {
  return db.token.findMany({ where: { userId, name } });
}

export async function insertToken(
  db: Db,
  token: { userId: string; name: string; hash: Uint8Array<ArrayBuffer> },
): Promise<void> {
  await db.token.create({ data: token });
}

export async function deleteToken(db: Db, id: string): Promise<void> {
  await db.token.deleteMany({ where: { id } });
}
