import { AppError } from '../domain/errors.ts';
import { parseName } from '../domain/names.ts';
import { sealSecret } from '../domain/sealed-secret.ts';
import type { Db } from '../store/database.ts';
import * as store from '../store/keypairs.ts';
import type { Page } from '../store/paging.ts';
import { generateKeypair, readKeypair } from '../transport/keypairs.ts';
import { recordAudit } from './audit.ts';
import { type Caller, type PageOf, type ServiceContext, toPage } from './context.ts';
import { found, refuseInUse, SUGGESTION_PAGE } from './lookup.ts';

/** A keypair without its private half, which never leaves the store. */
export type Keypair = Omit<store.KeypairRow, 'privateKeySealed'>;

export interface NewKeypair {
  readonly name: string;
  readonly generate: boolean;
  readonly privateKey?: string | undefined;
  readonly publicKey?: string | undefined;
}

export async function listKeypairs(context: ServiceContext, page: Page): Promise<PageOf<Keypair>> {
  return toPage(await store.listKeypairs(context.database.db, page), page.limit, (k) => k.name);
}

/** @throws {AppError} `not_found` */
export function getKeypair(context: ServiceContext, name: string): Promise<Keypair> {
  return requireKeypair(context.database.db, name);
}

/** @throws {AppError} `not_found` */
export async function requireKeypair(db: Db, name: string): Promise<store.KeypairRow> {
  return found(await store.findKeypair(db, name), {
    kind: 'keypair',
    name,
    names: () => store.listKeypairs(db, SUGGESTION_PAGE),
  });
}

/** @throws {AppError} `invalid_input`, `already_exists` */
export async function createKeypair(
  context: ServiceContext,
  caller: Caller,
  input: NewKeypair,
): Promise<Keypair> {
  const name = parseName('keypair', input.name);
  const keypair = input.generate ? generateKeypair() : readKeypair(requireKeys(input));
  const row = await context.database.transaction(async (tx) => {
    const made = await store.insertKeypair(tx, {
      name,
      publicKey: keypair.publicKey,
      fingerprint: keypair.fingerprint,
      privateKeySealed: sealSecret(keypair.privateKey, context.config.secretKey),
    });
    await recordAudit(tx, caller, {
      action: 'keypair.create',
      application: null,
      subject: name,
      after: describeKeypair(made),
    });
    return made;
  });
  context.log.info({ keypair: name, fingerprint: row.fingerprint }, 'keypair created');
  return row;
}

/** @throws {AppError} `not_found`; `in_use` while servers or gitrepos use it */
export async function deleteKeypair(
  context: ServiceContext,
  caller: Caller,
  name: string,
): Promise<void> {
  await context.database.transaction(async (tx) => {
    const keypair = await requireKeypair(tx, name);
    refuseInUse(`Keypair \`${name}\``, { ...(await store.findKeypairUses(tx, keypair.id)) });
    await store.deleteKeypair(tx, keypair.id);
    await recordAudit(tx, caller, {
      action: 'keypair.delete',
      application: null,
      subject: name,
      before: describeKeypair(keypair),
    });
  });
}

/** A keypair as the audit shows it: named one by one, so that the private half never is among it. */
function describeKeypair({ name, publicKey, fingerprint }: Keypair): Record<string, unknown> {
  return { name, public_key: publicKey, fingerprint };
}

function requireKeys(input: NewKeypair): { privateKey: string; publicKey?: string | undefined } {
  if (input.privateKey === undefined) {
    throw new AppError(
      'invalid_input',
      'Give `private_key` and `public_key` in the body, or `generate=true` to have a keypair made.',
    );
  }
  return { privateKey: input.privateKey, publicKey: input.publicKey };
}
