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

export async function deleteKeypair(db: Db, id: string): Promise<void> {
  await db.keypair.delete({ where: { id } });
}

/** The servers and gitrepos that use a keypair. */
export async function findKeypairUses(
  db: Db,
  id: string,
): Promise<{ servers: string[]; gitrepos: string[] }> {
  const named = {
    where: { keypairId: id },
    select: { name: true },
    orderBy: { name: 'asc' },
  } as const;
  const servers = await db.server.findMany(named);
  const gitrepos = await db.gitrepo.findMany(named);
  return { servers: servers.map((s) => s.name), gitrepos: gitrepos.map((g) => g.name) };
}
