import { AppError } from '../domain/errors.ts';
import { MUSTER_USERNAME } from '../domain/names.ts';
import { openSecret, sealSecret } from '../domain/sealed-secret.ts';
import type { Database, Db } from '../store/database.ts';
import {
  listSealedSecrets,
  lockSealedSecrets,
  replaceSealedSecret,
  type SealedSecret,
} from '../store/sealed-secrets.ts';
import { recordAudit } from './audit.ts';

/**
 * Sees to it at the start that the stored secrets can be read, instead of at the first deployment that needs one.
 * @throws {AppError} `conflict` naming what cannot be read and how to get out of it
 */
export async function checkSecretKey(database: Database, secretKey: Uint8Array): Promise<void> {
  const unreadable = (await listSealedSecrets(database.db)).filter((one) => !opens(one, secretKey));
  if (unreadable.length === 0) return;
  throw new AppError(
    'conflict',
    `The secret key is not the one that ${told(unreadable)} ${unreadable.length === 1 ? 'was' : 'were'} stored with. Start with the right MUSTER_SECRET_KEY, or the right file secret-key in the data directory; if a rotation of the key was broken off, run npm run rotate-secret-key again.`,
  );
}

/** What a rotation of the secret key has done. */
export interface Rotation {
  /** Secrets that were sealed anew; 0 if all had the new key before. */
  readonly rotated: number;
}

/**
 * Seals every stored secret with another key, in one transaction: afterwards all have the new one, or, if it fails, all
 * the old one. Done again after a crash it finds that nothing is left to do.
 * @throws {AppError} `conflict` if a secret can be read with neither key
 */
export function rotateSecretKey(
  database: Database,
  keys: { readonly from: Uint8Array; readonly to: Uint8Array },
): Promise<Rotation> {
  return database.transaction(async (tx) => {
    await lockSealedSecrets(tx);
    const stale = (await listSealedSecrets(tx)).filter((one) => !opens(one, keys.to));
    const unreadable = stale.filter((one) => !opens(one, keys.from));
    if (unreadable.length > 0) {
      throw new AppError(
        'conflict',
        `Nothing was changed: ${told(unreadable)} can be read neither with the present secret key nor with the new one. Set MUSTER_SECRET_KEY to the key that they were stored with.`,
      );
    }
    for (const one of stale) {
      const sealed = sealSecret(openSecret(one.sealed, keys.from), keys.to);
      await replaceSealedSecret(tx, { ...one, sealed });
    }
    if (stale.length > 0) await recordRotation(tx, stale);
    return { rotated: stale.length };
  });
}

async function recordRotation(tx: Db, secrets: readonly SealedSecret[]): Promise<void> {
  const operator = { userId: '', username: MUSTER_USERNAME, remoteAddress: null, requestId: null };
  await recordAudit(tx, operator, {
    action: 'secret_key.rotate',
    application: null,
    subject: 'secret-key',
    after: { secrets: secrets.length },
  });
}

function opens({ sealed }: SealedSecret, key: Uint8Array): boolean {
  try {
    openSecret(sealed, key);
    return true;
  } catch {
    return false;
  }
}

const NOUNS = {
  keypairs: 'keypair',
  gitproviders: 'git provider',
  jobs: 'job',
  webhook_urls: 'the URL of webhook',
  webhook_secrets: 'the secret of webhook',
} as const;

function told(secrets: readonly SealedSecret[]): string {
  const [first] = secrets;
  if (first === undefined) return 'nothing';
  const more = secrets.length - 1;
  return `${NOUNS[first.table]} \`${first.name}\`${more === 0 ? '' : ` and ${more} more`}`;
}
