import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Depot } from '../../src/depot/depot.ts';
import { createHandlers } from '../../src/jobs/handlers.ts';
import { startWorker, type Worker } from '../../src/jobs/worker.ts';
import { createTransport } from '../../src/transport/transport.ts';
import { startTestApi, type TestApi } from '../api/test-api.ts';
import { git } from '../depot/fixtures.ts';
import { packTarGz } from '../support/archive.ts';

let api: TestApi;
let worker: Worker;
/** What happens when the archive of a build has just been read into the depot. */
let afterIngest: (buildId: string) => Promise<void> = () => Promise.resolve();

beforeAll(async () => {
  api = await startTestApi();
  const { config, database, depot, queue, listener, log } = api.services;
  const watched: Depot = {
    ...depot,
    ingestBuild: async (o) => {
      const master = await depot.ingestBuild(o);
      await afterIngest(o.buildId);
      return master;
    },
  };
  const handlers = createHandlers({
    config,
    database,
    depot: watched,
    transport: createTransport(),
  });
  worker = startWorker({ database, queue, listener, handlers, log, concurrency: 4 });
  await api.call('PUT', '/app?app_name=shop');
});
afterAll(async () => {
  await worker.close();
  await api.close();
});

const refs = async (): Promise<string> => {
  const { id } = await api.services.database.db.application.findFirstOrThrow();
  return await git(['for-each-ref'], join(api.dataDirectory, 'depot', `${id}.git`));
};
const upload = async (name: string) => {
  await api.call('PUT', `/app/shop/builds?build_name=${name}`);
  return api.call('POST', `/app/shop/builds/${name}?file_type=tar.gz&wait=60`, {
    body: await packTarGz({ 'a.txt': name }),
    headers: { 'content-type': 'application/octet-stream' },
  });
};

describe('a build that cannot be stored', () => {
  it('because it was deleted meanwhile, leaves nothing in the depot, and its job says so', async () => {
    afterIngest = async (id) => {
      await api.services.database.db.build.delete({ where: { id } });
    };
    const reply = await upload('deleted');
    expect(reply).toMatchObject({ status: 409, body: { error: { code: 'conflict' } } });
    expect(reply.body.error.message).toContain('deleted while it was being stored');
    expect(await refs()).toBe('');
  });

  it('leaves nothing in the depot nor in the spool, and can be uploaded again at once', async () => {
    afterIngest = () => Promise.reject(new Error('nobody foresaw this'));
    expect((await upload('unlucky')).status).toBe(500);
    // The second upload may come before the first one is cleared away, and must not go with it.
    afterIngest = () => Promise.resolve();
    expect(await upload('unlucky')).toMatchObject({ status: 200, body: { state: 'stored' } });
    expect((await api.call('GET', '/app/shop/builds/unlucky/packages/master')).status).toBe(200);
    afterIngest = () => Promise.reject(new Error('nobody foresaw this'));
    expect((await upload('hopeless')).status).toBe(500);
    const wait = { timeout: 60_000 };
    await expect.poll(async () => (await refs()).split('\n').length, wait).toBe(1);
    const spool = join(api.dataDirectory, 'uploads');
    await expect.poll(() => readdir(spool).catch(() => []), wait).toEqual([]);
  });
});
