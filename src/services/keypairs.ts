import { AppError } from '../domain/errors.ts';
import { parseName } from '../domain/names.ts';
import { sealSecret } from '../domain/sealed-secret.ts';
import type { Db } from '../store/database.ts';
import * as store from '../store/keypairs.ts';
import type { Page } from '../store/paging.ts';
import { generateKeypair, readKeypair } from '../transport/keypairs.ts';
import { type PageOf, type ServiceContext, toPage } from './context.ts';
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
export async function createKeypair(context: ServiceContext, input: NewKeypair): Promise<Keypair> {
  const name = parseName('keypair', input.name);
  const keypair = input.generate ? generateKeypair() : readKeypair(requireKeys(input));
  const row = await store.insertKeypair(context.database.db, {
    name,
    publicKey: keypair.publicKey,
    fingerprint: keypair.fingerprint,
    privateKeySealed: sealSecret(keypair.privateKey, context.config.secretKey),
  });
  context.log.info({ keypair: name, fingerprint: row.fingerprint }, 'keypair created');
  return row;
}

/** @throws {AppError} `not_found`; `in_use` while servers or gitrepos use it */
export async function deleteKeypair(context: ServiceContext, name: string): Promise<void> {
  const { db } = context.database;
  const keypair = await requireKeypair(db, name);
  refuseInUse(`Keypair \`${name}\``, { ...(await store.findKeypairUses(db, keypair.id)) });
  await store.deleteKeypair(db, keypair.id);
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
