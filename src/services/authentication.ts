import { createHash, randomBytes } from 'node:crypto';
import { readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Config } from '../config.ts';
import { AppError } from '../domain/errors.ts';
import { EVERYTHING, Permissions } from '../domain/permissions.ts';
import type { Db } from '../store/database.ts';
import {
  deleteToken,
  ensureUser,
  findToken,
  insertToken,
  listTokensNamed,
  lockUsers,
} from '../store/users.ts';
import type { Caller, ServiceContext } from './context.ts';

/** Who asks, and what they may do. */
export interface AuthenticatedCaller extends Caller {
  readonly permissions: Permissions;
}

/** Whose token it is, before anything is known of the request. */
export type Identity = Omit<AuthenticatedCaller, 'remoteAddress' | 'requestId'>;

/**
 * Finds out whose token it is.
 * @throws {AppError} `unauthenticated` if it is nobody's or has expired
 */
export async function authenticate(context: ServiceContext, token: string): Promise<Identity> {
  const row = await findToken(context.database.db, hashToken(token));
  if (row === null) {
    throw new AppError(
      'unauthenticated',
      'The token is not known or has expired; ask for a new one, or read the first one from the file admin-token in the data directory.',
    );
  }
  const { id, username, permissions } = row.user;
  return { userId: id, username, permissions: Permissions.parse(permissions) };
}

const ADMIN_USERNAME = 'admin';
/** The token that mirrors the setting: it comes, changes and goes with it. */
const SETTING_TOKEN_NAME = 'MUSTER_ADMIN_TOKEN';
/** The token that the first start makes where none is set. */
const FILE_TOKEN_NAME = 'admin-token';

/** Where the first start writes the token that it makes. */
const adminTokenFile = (config: Config): string => join(config.dataDirectory, 'admin-token');

/**
 * Sees to it that there is a user `admin` who may do everything and has a token: the one of the setting
 * MUSTER_ADMIN_TOKEN, else a random one in the file `admin-token` of the data directory. Called at every start;
 * safe when several processes start at once, and after a crash in the middle. The token is never printed.
 *
 * A file that was deleted is not made again while its token is valid: somebody has put the token elsewhere.
 */
export async function ensureAdmin(context: ServiceContext): Promise<void> {
  const { config, database, log } = context;
  await database.transaction(async (tx) => {
    await lockUsers(tx);
    const admin = await ensureUser(tx, ADMIN_USERNAME, EVERYTHING);
    await replaceSettingToken(tx, admin.id, config.adminToken);
    if (config.adminToken !== null) return;
    const made = await listTokensNamed(tx, admin.id, FILE_TOKEN_NAME);
    if (made.length > 0) return;
    const token = await readOrWriteToken(adminTokenFile(config));
    await insertToken(tx, { userId: admin.id, name: FILE_TOKEN_NAME, hash: hashToken(token) });
    log.info({ file: adminTokenFile(config) }, 'the admin token is in this file');
  });
}

async function replaceSettingToken(tx: Db, userId: string, setting: string | null): Promise<void> {
  const hash = setting === null ? null : hashToken(setting);
  const mirrored = await listTokensNamed(tx, userId, SETTING_TOKEN_NAME);
  const stale = mirrored.filter((token) => hash === null || Buffer.compare(hash, token.hash) !== 0);
  for (const token of stale) await deleteToken(tx, token.id);
  // The operator may have put the token of the file into the setting; then it is there under its own name.
  if (hash === null || (await findToken(tx, hash)) !== null) return;
  await insertToken(tx, { userId, name: SETTING_TOKEN_NAME, hash });
}

/** A file without a row is what a crash between the two has left: its token is taken. */
async function readOrWriteToken(file: string): Promise<string> {
  const left = await readFile(file, 'utf8').catch(() => '');
  if (/^[0-9a-f]{64}$/.test(left.trim())) return left.trim();
  const token = randomBytes(32).toString('hex');
  const unfinished = `${file}.${process.pid}`;
  await writeFile(unfinished, `${token}\n`, { mode: 0o600 });
  await rename(unfinished, file);
  return token;
}

function hashToken(token: string): Uint8Array<ArrayBuffer> {
  return new Uint8Array(createHash('sha256').update(token).digest());
}
