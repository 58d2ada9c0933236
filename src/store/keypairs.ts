import { AppError } from '../domain/errors.ts';
import { type Db, insertUnique } from './database.ts';
import type { Keypair } from './generated/client.ts';
import { byName, type Page } from './paging.ts';

export type KeypairRow = Keypair;

export function listKeypairs(db: Db, page: Page): Promise<KeypairRow[]> {
  return db.keypair.findMany(byName(page));
}

export function findKeypair(db: Db, name: string): Promise<KeypairRow | null> {
  return db.keypair.findUnique({ where: { name } });
}

export function findKeypairById(db: Db, id: string): Promise<KeypairRow | null> {
  return db.keypair.findUnique({ where: { id } });
}

/** @throws {AppError} `already_exists` */
export function insertKeypair(
  db: Db,
  keypair: {
    name: string;
    publicKey: string;
    fingerprint: string;
    privateKeySealed: Uint8Array<ArrayBuffer>;
  },
): Promise<KeypairRow> {
  return insertUnique(
    db.keypair.create({ data: keypair }),
    () =>
      new AppError(
        'already_exists',
        `Keypair \`${keypair.name}\` exists already. Nothing was changed.`,
      ),
  );
}

/** Puts another key in a keypair's place. */
export function updateKeypair(
  tx: Db,
  id: string,
  keys: Pick<KeypairRow, 'publicKey' | 'fingerprint'> & {
    privateKeySealed: Uint8Array<ArrayBuffer>;
  },
): Promise<KeypairRow> {
  return tx.keypair.update({ where: { id }, data: keys });
}

/** Keeps others from changing a keypair until the transaction ends, but not from using it. */
export async function lockKeypair(tx: Db, name: string): Promise<void> {
  await tx.$executeRaw`select 1 from keypairs where name = ${name} for no key update`;
}
