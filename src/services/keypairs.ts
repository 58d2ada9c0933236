import { AppError } from '../domain/errors.ts';
import { parseName } from '../domain/names.ts';
import { sealSecret } from '../domain/sealed-secret.ts';
import type { Db } from '../store/database.ts';
import * as store from '../store/keypairs.ts';
import type { Page } from '../store/paging.ts';
import { generateKeypair, readKeypair } from '../transport/keypairs.ts';
import { recordAudit } from './audit.ts';
import type { AuthenticatedCaller } from './authentication.ts';
import { type Deleted, deleteWithNeeds } from './cascade.ts';
import { type Caller, type PageOf, type ServiceContext, toPage } from './context.ts';
import { describeKeypair } from './descriptions.ts';
import { found, SUGGESTION_PAGE } from './lookup.ts';

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
  const keypair = readKeys(input);
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

/**
 * Puts another key in a keypair's place: whatever uses the keypair logs in with it from its next connection on.
 * Connections that are open stay open.
 * @throws {AppError} `not_found`, `invalid_input`
 */
export async function changeKeypair(
  context: ServiceContext,
  caller: Caller,
  input: NewKeypair,
): Promise<Keypair> {
  const { name } = input;
  const keypair = readKeys(input);
  const row = await context.database.transaction(async (tx) => {
    await store.lockKeypair(tx, name);
    const before = await requireKeypair(tx, name);
    const changed = await store.updateKeypair(tx, before.id, {
      publicKey: keypair.publicKey,
      fingerprint: keypair.fingerprint,
      privateKeySealed: sealSecret(keypair.privateKey, context.config.secretKey),
    });
    await recordAudit(tx, caller, {
      action: 'keypair.change',
      application: null,
      subject: name,
      before: describeKeypair(before),
      after: describeKeypair(changed),
    });
    return changed;
  });
  context.log.info({ keypair: name, fingerprint: row.fingerprint }, 'keypair changed');
  return row;
}

/**
 * Deletes a keypair.
 * @returns what went with it: with `cascade` the servers and gitrepos that use it, as by `deleteServer` and
 *   `deleteGitrepo`
 * @throws {AppError} as `deleteWithNeeds`
 */
export async function deleteKeypair(
  context: ServiceContext,
  caller: AuthenticatedCaller,
  { name, cascade }: { name: string; cascade: boolean },
): Promise<Deleted> {
  return deleteWithNeeds(context, caller, {
    what: `Keypair \`${name}\``,
    cascade,
    find: async (tx) => ({ kind: 'keypair', id: (await requireKeypair(tx, name)).id }),
    record: async (tx) =>
      recordAudit(tx, caller, {
        action: 'keypair.delete',
        application: null,
        subject: name,
        before: describeKeypair(await requireKeypair(tx, name)),
      }),
  });
}

/** @throws {AppError} `invalid_input` */
function readKeys(input: NewKeypair): ReturnType<typeof generateKeypair> {
  if (!input.generate) return readKeypair(requireKeys(input));
  if (input.privateKey === undefined && input.publicKey === undefined) return generateKeypair();
  throw new AppError(
    'invalid_input',
    'Give either `generate=true` or keys in the body, not both.',
    { details: { parameter: 'generate' } },
  );
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
