import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { openSecret, sealSecret } from '../../src/domain/sealed-secret.ts';
import { checkSecretKey, rotateSecretKey } from '../../src/services/secret-key.ts';
import { type Database, openDatabase } from '../../src/store/database.ts';
import { listSealedSecrets } from '../../src/store/sealed-secrets.ts';
import { createTestDatabase, type TestDatabase } from '../support/postgres.ts';

describe('the secret key', () => {
  let testDatabase: TestDatabase;
  let database: Database;
  const [old, next, other] = [randomBytes(32), randomBytes(32), randomBytes(32)];
  const secrets = async (key: Uint8Array) =>
    (await listSealedSecrets(database.db)).map(({ sealed }) => openSecret(sealed, key)).sort();

  beforeAll(async () => {
    testDatabase = await createTestDatabase();
    database = openDatabase({ databaseUrl: testDatabase.databaseUrl });
  });
  beforeEach(async () => {
    const { db } = database;
    await db.$executeRaw`truncate keypairs, gitproviders, jobs, webhooks, audit_events cascade`;
    const keypair = { publicKey: 'ssh-ed25519 AAAA', fingerprint: 'SHA256:x' };
    for (const name of ['kp1', 'kp2']) {
      const privateKeySealed = sealSecret(`private ${name}`, old);
      await db.keypair.create({ data: { ...keypair, name, privateKeySealed } });
    }
    const authSealed = sealSecret('token', old);
    await db.gitprovider.create({ data: { name: 'gp1', kind: 'gitea', authSealed } });
    const urlSealed = sealSecret('https://hooks.example.com/x', old);
    const secretSealed = sealSecret('signs', old);
    await db.webhook.create({ data: { name: 'wh1', urlSealed, secretSealed } });
    await db.webhook.create({ data: { name: 'wh2', urlSealed } });
    const sealedUrl = Buffer.from(sealSecret('https://u:p@host/', old)).toString('base64');
    const job = { kind: 'fetch_build', username: 'ci', data: { sealedUrl, verifyTls: true } };
    await db.job.create({ data: job });
    // What is over needs its secret no more.
    await db.job.create({ data: { ...job, status: 'succeeded' } });
  });
  afterAll(async () => {
    await database.close();
    await testDatabase.drop();
  });

  it('is good at the start if it reads all that is stored, or if nothing is', async () => {
    await expect(checkSecretKey(database, old)).resolves.toBeUndefined();
    await expect(checkSecretKey(database, other)).rejects.toMatchObject({
      code: 'conflict',
      message: expect.stringMatching(
        /^The secret key is not the one that the URL of webhook `wh1` and 6 more were/,
      ),
    });
    await database.db.$executeRaw`truncate keypairs, gitproviders, jobs, webhooks cascade`;
    await expect(checkSecretKey(database, other)).resolves.toBeUndefined();
  });

  it('is rotated for everything at once, which the audit tells without a secret', async () => {
    const before = await secrets(old);
    expect(await rotateSecretKey(database, { from: old, to: next })).toEqual({ rotated: 7 });
    expect(await secrets(next)).toEqual(before);
    await expect(checkSecretKey(database, old)).rejects.toMatchObject({ code: 'conflict' });
    const [job] = await database.db.job.findMany({ where: { status: 'queued' } });
    expect(job?.data).toMatchObject({ verifyTls: true });
    const audit = await database.db.auditEvent.findMany();
    expect(audit).toMatchObject([{ action: 'secret_key.rotate', username: 'muster' }]);
  });

  it('may be rotated again to the same key: then nothing is left to do', async () => {
    await rotateSecretKey(database, { from: old, to: next });
    expect(await rotateSecretKey(database, { from: old, to: next })).toEqual({ rotated: 0 });
  });

  it('stays as it is for all if one secret can be read with neither key', async () => {
    const privateKeySealed = sealSecret('foreign', other);
    await database.db.keypair.update({ where: { name: 'kp2' }, data: { privateKeySealed } });
    await expect(rotateSecretKey(database, { from: old, to: next })).rejects.toMatchObject({
      message: expect.stringMatching(/^Nothing was changed: keypair `kp2` can be read neither/),
    });
    const { privateKeySealed: kept } = await database.db.keypair.findUniqueOrThrow({
      where: { name: 'kp1' },
    });
    expect(openSecret(kept, old)).toBe('private kp1');
  });

  it('seals every column that the schema calls sealed', async () => {
    const columns = await database.db.$queryRaw<{ column: string }[]>`
      select table_name || '.' || column_name as column from information_schema.columns
       where table_schema = 'public' and column_name like '%sealed%' order by 1`;
    expect(columns.map(({ column }) => column)).toEqual([
      'gitproviders.auth_sealed',
      'keypairs.private_key_sealed',
      'webhooks.secret_sealed',
      'webhooks.url_sealed',
    ]);
  });
});
