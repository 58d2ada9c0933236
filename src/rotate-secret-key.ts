import { randomBytes } from 'node:crypto';
import { open, readFile, rename } from 'node:fs/promises';
import { withDatabase } from './compose.ts';
import { type Config, parseSecretKey } from './config.ts';
import { AppError } from './domain/errors.ts';
import { createLog } from './log.ts';
import { rotateSecretKey } from './services/secret-key.ts';
import { countOtherSessions, type Database } from './store/database.ts';

/**
 * The command `npm run rotate-secret-key`: seals all stored secrets with a new key while Muster is down. The new key is
 * made and kept in the data directory where the present one is kept there, else it is the setting
 * MUSTER_NEW_SECRET_KEY. It may be broken off at any moment and run again.
 * @returns what is to be told to the operator
 * @throws {AppError} `conflict` if Muster runs, `invalid_input` if no new key is given
 */
export async function runKeyRotation(config: Config): Promise<string> {
  const next = await provideNextKey(config);
  const log = createLog('warn');
  const { rotated } = await withDatabase(config, log, async (database) => {
    await refuseWhileInUse(database);
    return rotateSecretKey(database, { from: config.secretKey, to: next.key });
  });
  await next.keep();
  const secrets = `${rotated} ${rotated === 1 ? 'secret was' : 'secrets were'} sealed anew`;
  return config.secretKeyFile === null
    ? `${secrets}. Now set MUSTER_SECRET_KEY to the new key, unset MUSTER_NEW_SECRET_KEY, and start Muster.`
    : `${secrets}, and the new key is in ${config.secretKeyFile}. Make a backup of it, and start Muster.`;
}

interface NextKey {
  readonly key: Uint8Array;
  /** Puts the key in the place of the present one, once everything is sealed with it. */
  keep(): Promise<void>;
}

async function provideNextKey({ secretKeyFile, newSecretKey }: Config): Promise<NextKey> {
  if (secretKeyFile === null) {
    if (newSecretKey !== null) return { key: newSecretKey, keep: () => Promise.resolve() };
    throw new AppError(
      'invalid_input',
      'The secret key is a setting; set MUSTER_NEW_SECRET_KEY to the new one (openssl rand -hex 32) and keep a copy of it.',
    );
  }
  // On disk before anything is sealed with it: a crash must not take the only copy along.
  const nextFile = `${secretKeyFile}.new`;
  const key = await readOrWriteKey(nextFile, newSecretKey ?? randomBytes(32));
  return { key, keep: () => rename(nextFile, secretKeyFile) };
}

async function readOrWriteKey(path: string, key: Buffer): Promise<Buffer> {
  const left = parseSecretKey(await readFile(path, 'utf8').catch(() => ''));
  if (left !== null) return left;
  const file = await open(path, 'w', 0o600);
  try {
    await file.write(`${key.toString('hex')}\n`);
    await file.sync();
  } finally {
    await file.close();
  }
  return key;
}

async function refuseWhileInUse(database: Database): Promise<void> {
  const sessions = await countOtherSessions(database.db);
  if (sessions === 0) return;
  throw new AppError(
    'conflict',
    `Nothing was changed: ${sessions} other connections to the database are open. Stop every API and worker process, which would go on with the old key, and run this again.`,
  );
}
