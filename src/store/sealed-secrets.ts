import type { Db } from './database.ts';

/** A stored secret, encrypted by `sealSecret`. */
export interface SealedSecret {
  readonly table: 'keypairs' | 'gitproviders';
  readonly id: string;
  readonly name: string;
  readonly sealed: Uint8Array<ArrayBuffer>;
}

/** Everything that is encrypted with the secret key; a test compares this with the columns of the database. */
export async function listSealedSecrets(db: Db): Promise<SealedSecret[]> {
  const keypairs = await db.keypair.findMany({ orderBy: { name: 'asc' } });
  const gitproviders = await db.gitprovider.findMany({ orderBy: { name: 'asc' } });
  return [
    ...keypairs.map(({ id, name, privateKeySealed: sealed }) => ({
      table: 'keypairs' as const,
      id,
      name,
      sealed,
    })),
    ...gitproviders.map(({ id, name, authSealed: sealed }) => ({
      table: 'gitproviders' as const,
      id,
      name,
      sealed,
    })),
  ];
}

/** Keeps everybody else from adding or changing a sealed secret until the transaction ends. */
export async function lockSealedSecrets(tx: Db): Promise<void> {
  await tx.$executeRaw`lock table keypairs, gitproviders in share row exclusive mode`;
}

/** Puts another encryption of the same secret in the place of a stored one. */
export async function replaceSealedSecret(
  tx: Db,
  { table, id, sealed }: SealedSecret,
): Promise<void> {
  switch (table) {
    case 'keypairs':
      await tx.keypair.update({ where: { id }, data: { privateKeySealed: sealed } });
      return;
    case 'gitproviders':
      await tx.gitprovider.update({ where: { id }, data: { authSealed: sealed } });
      return;
  }
}
