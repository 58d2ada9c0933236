import { AppError } from '../domain/errors.ts';
import { Permissions } from '../domain/permissions.ts';
import { remembered } from '../domain/remembered.ts';
import { type Db, insertUnique, type Statements } from './database.ts';
import { Prisma, type Token, type User } from './generated/client.ts';
import { fromJson, toJson } from './json.ts';
import type { Page } from './paging.ts';

export type UserRow = Omit<User, 'permissions'> & { readonly permissions: Permissions };
export type TokenRow = Token;

const parsed = (row: User): UserRow => ({
  ...row,
  permissions: fromJson(Permissions, row.permissions),
});

const unexpired = (): Prisma.TokenWhereInput => ({
  OR: [{ expiresAt: null }, { expiresAt: { gt: new Date() } }],
});

/** The token with this SHA-256 and its user, unless it has expired. */
export async function findToken(
  db: Db,
  hash: Uint8Array<ArrayBuffer>,
): Promise<(TokenRow & { readonly user: UserRow }) | null> {
  const row = await db.token.findFirst({
    where: { hash, ...unexpired() },
    include: { user: true },
  });
  return row === null ? null : { ...row, user: parsed(row.user) };
}

/** Who asks with a token. */
export interface TokenHolder {
  readonly tokenId: string;
  readonly userId: string;
  readonly username: string;
  readonly permissions: Permissions;
}

/** Whose the token with this SHA-256 is, and what they may do now; null if there is none or it has expired. */
export async function findTokenHolder(
  database: Statements,
  hash: Uint8Array<ArrayBuffer>,
): Promise<TokenHolder | null> {
  const [row] = await database.statement<
    Omit<TokenHolder, 'permissions'> & { readonly permissions: string }
  >(Prisma.sql`
    select tokens.id as "tokenId", users.id as "userId", username, permissions::text
      from tokens join users on users.id = user_id
     where hash = ${hash} and (expires_at is null or expires_at > ${new Date()})`);
  return row === undefined ? null : { ...row, permissions: readPermissions(row.permissions) };
}

/** By their text, so that whatever changes them is seen at once. */
const readPermissions = remembered({ max: 100, maxLength: 20_000 }, (text) =>
  fromJson(Permissions, JSON.parse(text)),
);

/** Serializes what decides on all users at once, until the transaction ends. */
export async function lockUsers(tx: Db): Promise<void> {
  await tx.$executeRaw`select pg_advisory_xact_lock(hashtextextended('users', 0))`;
}

/**
 * Keeps a user from being changed, deleted or given tokens by a login until the transaction ends.
 * @returns the password hash as it is now; null if the user is gone or has none
 */
export async function lockUser(tx: Db, id: string): Promise<string | null> {
  const [row] = await tx.$queryRaw<{ password_hash: string | null }[]>`
    select password_hash from users where id = ${id}::uuid for no key update`;
  return row?.password_hash ?? null;
}

/** Users by name, one more than asked to see whether there are more. */
export async function listUsers(db: Db, page: Page): Promise<UserRow[]> {
  const rows = await db.user.findMany({
    where: page.after === undefined ? {} : { username: { gt: page.after } },
    orderBy: { username: 'asc' },
    ...(page.limit === undefined ? {} : { take: page.limit + 1 }),
  });
  return rows.map(parsed);
}

export async function findUser(db: Db, username: string): Promise<UserRow | null> {
  const row = await db.user.findUnique({ where: { username } });
  return row === null ? null : parsed(row);
}

/** The ids of those users who have a password or a token that has not expired. */
export async function listUsersWithCredentials(db: Db): Promise<string[]> {
  const rows = await db.user.findMany({
    where: { OR: [{ passwordHash: { not: null } }, { tokens: { some: unexpired() } }] },
    select: { id: true },
  });
  return rows.map(({ id }) => id);
}

/** @throws {AppError} `already_exists` */
export async function insertUser(
  db: Db,
  user: { username: string; passwordHash: string | null; permissions: Permissions },
): Promise<UserRow> {
  const row = await insertUnique(
    db.user.create({ data: { ...user, permissions: toJson(user.permissions) } }),
    () =>
      new AppError(
        'already_exists',
        `User \`${user.username}\` exists already. Nothing was changed.`,
      ),
  );
  return parsed(row);
}

/** What is undefined stays as it is. */
export async function updateUser(
  tx: Db,
  id: string,
  values: { passwordHash?: string | undefined; permissions?: Permissions | undefined },
): Promise<UserRow> {
  const { passwordHash, permissions } = values;
  const row = await tx.user.update({
    where: { id },
    data: {
      ...(passwordHash === undefined ? {} : { passwordHash }),
      ...(permissions === undefined ? {} : { permissions: toJson(permissions) }),
    },
  });
  return parsed(row);
}

/** Deletes the user and, by cascade, all tokens. */
export async function deleteUser(tx: Db, id: string): Promise<void> {
  await tx.user.delete({ where: { id } });
}

/** A user's tokens that have not expired, newest first, one more than asked. @param page `after` is an id */
export function listTokens(
  db: Db,
  userId: string,
  page: { limit: number; after?: string | undefined },
): Promise<TokenRow[]> {
  const { limit, after } = page;
  return db.token.findMany({
    where: { userId, ...unexpired(), ...(after === undefined ? {} : { id: { lt: after } }) },
    orderBy: { id: 'desc' },
    take: limit + 1,
  });
}

/** How many tokens a user has that have not expired, but for those of some names. */
export function countTokens(db: Db, userId: string, butNamed: readonly string[]): Promise<number> {
  return db.token.count({ where: { userId, name: { notIn: [...butNamed] }, ...unexpired() } });
}

/** The tokens of a user with a given name. */
export function listTokensNamed(db: Db, userId: string, name: string): Promise<TokenRow[]> {
  return db.token.findMany({ where: { userId, name } });
}

/** A token and whose it is. */
export function findTokenById(
  db: Db,
  id: string,
): Promise<(TokenRow & { readonly user: { readonly username: string } }) | null> {
  return db.token.findUnique({
    where: { id },
    include: { user: { select: { username: true } } },
  });
}

export interface NewToken {
  readonly userId: string;
  readonly name: string;
  readonly hash: Uint8Array<ArrayBuffer>;
  /** Default never. */
  readonly expiresAt?: Date | null;
}

export function insertToken(db: Db, token: NewToken): Promise<TokenRow> {
  return db.token.create({ data: token });
}

/** @returns false if it was gone already */
export async function deleteToken(db: Db, id: string): Promise<boolean> {
  const { count } = await db.token.deleteMany({ where: { id } });
  return count === 1;
}

/** Deletes a user's tokens but for some. @returns how many were deleted */
export async function deleteTokensOf(
  tx: Db,
  userId: string,
  but: { id: string; names: readonly string[] },
): Promise<number> {
  const { count } = await tx.token.deleteMany({
    where: { userId, id: { not: but.id }, name: { notIn: [...but.names] } },
  });
  return count;
}

/** Forgets up to `limit` tokens whose time is over. @returns how many */
export function deleteExpiredTokens(db: Db, limit: number): Promise<number> {
  return db.$executeRaw`
    delete from tokens where id in (select id from tokens where expires_at < now() limit ${limit})`;
}
