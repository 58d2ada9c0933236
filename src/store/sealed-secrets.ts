import { z } from 'zod';
import type { Db } from './database.ts';
import { toJson } from './json.ts';

/** A stored secret, encrypted by `sealSecret`. */
export interface SealedSecret {
  readonly table: 'keypairs' | 'gitproviders' | 'jobs' | 'webhook_urls' | 'webhook_secrets';
  readonly id: string;
  readonly name: string;
  readonly sealed: Uint8Array<ArrayBuffer>;
}

/** What a job that is not over keeps to itself: the address of an archive, which may hold a password. */
const SealedData = z.looseObject({ sealedUrl: z.base64() });

/** Everything that is encrypted with the secret key; a test compares this with the columns of the database. */
export async function listSealedSecrets(db: Db): Promise<SealedSecret[]> {
  const keypairs = await db.keypair.findMany({ orderBy: { name: 'asc' } });
  const gitproviders = await db.gitprovider.findMany({ orderBy: { name: 'asc' } });
  const jobs = await db.job.findMany({ where: { status: { in: ['queued', 'running'] } } });
  const webhooks = await db.webhook.findMany({ orderBy: { name: 'asc' } });
  return [
    ...webhooks.flatMap(({ id, name, urlSealed, secretSealed }) => [
      { table: 'webhook_urls' as const, id, name, sealed: urlSealed },
      ...(secretSealed === null
        ? []
        : [{ table: 'webhook_secrets' as const, id, name, sealed: secretSealed }]),
    ]),
    ...jobs.flatMap(({ id, data }) => {
      const { success, data: found } = SealedData.safeParse(data);
      const sealed = success ? new Uint8Array(Buffer.from(found.sealedUrl, 'base64')) : null;
      return sealed === null ? [] : [{ table: 'jobs' as const, id, name: id, sealed }];
    }),
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
  await tx.$executeRaw`lock table keypairs, gitproviders, jobs, webhooks in share row exclusive mode`;
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
    case 'jobs': {
      const { data } = await tx.job.findUniqueOrThrow({ where: { id } });
      const sealedUrl = Buffer.from(sealed).toString('base64');
      await tx.job.update({
        where: { id },
        data: { data: toJson({ ...SealedData.parse(data), sealedUrl }) },
      });
      return;
    }
    case 'webhook_urls':
      await tx.webhook.update({ where: { id }, data: { urlSealed: sealed } });
      return;
    case 'webhook_secrets':
      await tx.webhook.update({ where: { id }, data: { secretSealed: sealed } });
      return;
    case 'gitproviders':
      await tx.gitprovider.update({ where: { id }, data: { authSealed: sealed } });
      return;
  }
}
