import { createHash, randomBytes } from 'node:crypto';
import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Config } from '../config.ts';
import { AppError } from '../domain/errors.ts';
import { EVERYTHING, mayAdminister, type Permissions } from '../domain/permissions.ts';
import type { Db } from '../store/database.ts';
import * as store from '../store/users.ts';
import { type Actor, NOBODY, recordAudit } from './audit.ts';
import type { Caller, ServiceContext } from './context.ts';

/** Who asks, and what they may do. */
export interface AuthenticatedCaller extends Caller {
  readonly permissions: Permissions;
  /** The token that they asked with. */
  readonly tokenId: string;
}

/** Whose token it is, before anything is known of the request. */
export type Identity = store.TokenHolder;

/**
 * Finds out whose token it is.
 * @throws {AppError} `unauthenticated` if it is nobody's or has expired
 */
export async function authenticate(context: ServiceContext, token: string): Promise<Identity> {
  const holder = await store.findTokenHolder(context.database, hashToken(token));
  if (holder === null) {
    throw new AppError(
      'unauthenticated',
      'The token is not known or has expired; ask for a new one, or read the first one from the file admin-token in the data directory.',
    );
  }
  return holder;
}

const ADMIN_USERNAME = 'admin';
/** The token that mirrors the setting: it comes, changes and goes with it. */
const SETTING_TOKEN_NAME = 'MUSTER_ADMIN_TOKEN';
/** The token that the first start makes where none is set. */
export const FILE_TOKEN_NAME = 'admin-token';

/** Tokens that rest on the machine's configuration and on no password. No login may make one of such a name. */
export const OPERATOR_TOKEN_NAMES: readonly string[] = [SETTING_TOKEN_NAME, FILE_TOKEN_NAME];

/** Where the first start writes the token that it makes. */
const adminTokenFile = (config: Config): string => join(config.dataDirectory, 'admin-token');

const MUSTER: Actor = { username: NOBODY, remoteAddress: null, requestId: null };

/**
 * Sees to it that somebody can administer Muster. With the setting MUSTER_ADMIN_TOKEN, that is user `admin` with
 * this token. Without it, user `admin` is made and given a random token, written to the file `admin-token` of the
 * data directory, but only while nobody else may write `_global` and has a way in: who has deleted the first
 * administrator or its token does not find them again. Called at every start; safe when several processes start
 * at once, and after a crash in the middle. The token is never printed.
 */
export async function ensureAdmin(context: ServiceContext): Promise<void> {
  const { config, database, log } = context;
  const file = adminTokenFile(config);
  const isToBeShown = await database.transaction(async (tx) => {
    await store.lockUsers(tx);
    await removeEnded(tx, file);
    if (config.adminToken !== null) {
      await replaceSettingToken(tx, await provideAdmin(tx), config.adminToken);
      return false;
    }
    const admin = await store.findUser(tx, ADMIN_USERNAME);
    if (admin !== null) await replaceSettingToken(tx, admin, null);
    const written = await readTokenFile(hiddenFile(file));
    if (written !== null && (await store.findToken(tx, hashToken(written))) !== null) return true;
    if (await hasAdministrator(tx)) return false;
    const token = written ?? (await writeToken(hiddenFile(file)));
    await addToken(tx, await provideAdmin(tx), { name: FILE_TOKEN_NAME, token });
    return true;
  });
  if (!isToBeShown) return;
  await show(file);
  log.info({ file }, 'the admin token is in this file');
}

/**
 * Removes the file of the first administrator's token. Called after the commit that ends the token; what a crash in
 * between leaves is removed at the next start, and opens nothing until then.
 */
export async function removeAdminTokenFile({ config, log }: ServiceContext): Promise<void> {
  await rm(adminTokenFile(config), { force: true }).catch((error: unknown) => {
    log.warn({ err: error }, 'the file of an ended admin token could not be removed');
  });
}

/** 256 random bits, with a prefix by which scanners for leaked secrets know it. */
export function generateToken(): string {
  return `muster_${randomBytes(32).toString('base64url')}`;
}

/** What is stored of a token. It is random, so a plain hash is enough. */
export function hashToken(token: string): Uint8Array<ArrayBuffer> {
  return new Uint8Array(createHash('sha256').update(token).digest());
}

async function provideAdmin(tx: Db): Promise<store.UserRow> {
  const present = await store.findUser(tx, ADMIN_USERNAME);
  if (present !== null) return present;
  const values = { username: ADMIN_USERNAME, permissions: EVERYTHING };
  const made = await store.insertUser(tx, { ...values, passwordHash: null });
  await recordAudit(tx, MUSTER, {
    action: 'user.create',
    application: null,
    subject: made.username,
    after: values,
  });
  return made;
}

async function hasAdministrator(tx: Db): Promise<boolean> {
  const canEnter = new Set(await store.listUsersWithCredentials(tx));
  const users = await store.listUsers(tx, {});
  return users.some(({ id, permissions }) => canEnter.has(id) && mayAdminister(permissions));
}

async function replaceSettingToken(
  tx: Db,
  admin: store.UserRow,
  setting: string | null,
): Promise<void> {
  const hash = setting === null ? null : hashToken(setting);
  const mirrored = await store.listTokensNamed(tx, admin.id, SETTING_TOKEN_NAME);
  for (const { id, name, hash: old } of mirrored) {
    if (hash !== null && Buffer.compare(hash, old) === 0) continue;
    await store.deleteToken(tx, id);
    const before = { name, username: admin.username };
    await recordAudit(tx, MUSTER, {
      action: 'token.delete',
      application: null,
      subject: id,
      before,
    });
  }
  // The operator may have put the token of the file into the setting; then it is there under its own name.
  if (setting === null || hash === null || (await store.findToken(tx, hash)) !== null) return;
  await addToken(tx, admin, { name: SETTING_TOKEN_NAME, token: setting });
}

async function addToken(
  tx: Db,
  { id: userId, username }: store.UserRow,
  { name, token }: { name: string; token: string },
): Promise<void> {
  const { id } = await store.insertToken(tx, { userId, name, hash: hashToken(token) });
  const after = { name, username };
  await recordAudit(tx, MUSTER, { action: 'token.create', application: null, subject: id, after });
}

/** Where a token is written that is not stored yet. A file of its real name is always of one that was. */
const hiddenFile = (file: string): string => `${file}.new`;

async function removeEnded(tx: Db, file: string): Promise<void> {
  const token = await readTokenFile(file);
  if (token !== null && (await store.findToken(tx, hashToken(token))) === null) await rm(file);
}

async function readTokenFile(file: string): Promise<string | null> {
  const text = await readFile(file, 'utf8').catch(() => '');
  return /^[0-9a-f]{64}$/.test(text.trim()) ? text.trim() : null;
}

async function writeToken(file: string): Promise<string> {
  const token = randomBytes(32).toString('hex');
  const unfinished = `${file}.${process.pid}`;
  await writeFile(unfinished, `${token}\n`, { mode: 0o600 });
  await rename(unfinished, file);
  return token;
}

/** Now that it is stored. Another process that starts may have done so already. */
async function show(file: string): Promise<void> {
  await rename(hiddenFile(file), file).catch(async (error: unknown) => {
    if ((await readTokenFile(file)) === null) throw error;
  });
}
