import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createApiClient, type Reply } from '../support/api-client.ts';
import { packTarGz } from '../support/archive.ts';
import { startMuster, type TestMuster } from '../support/muster.ts';
import { requirePart } from '../support/parts.ts';
import { makeTemporaryDirectory, type TemporaryDirectory } from '../support/temporary-directory.ts';

const available = requirePart('redis-server');

/** Says a line, waits for a gate, says another one; a marker tells each time that it was begun. */
const WAITING = `echo $$ >../pid-PHASE; echo begun >>../marker-PHASE; echo "PHASE one"; until [ -e ../gate-PHASE ]; do sleep 0.1; done; echo "PHASE two"`;

describe.skipIf(!available)('a step whose worker is killed', () => {
  let muster: TestMuster;
  let directory: TemporaryDirectory;
  const file = (name: string): string => join(directory.path, 's0/opt', name);
  const read = (name: string): Promise<string> => readFile(file(name), 'utf8').catch(() => '');
  const api = async (method: string, url: string, body?: unknown): Promise<Reply['body']> => {
    const reply = await createApiClient(muster)(method, url, body);
    expect({ method, url, status: reply.status, body: reply.body }).toMatchObject({
      status: reply.status < 300 ? reply.status : 'less than 300',
    });
    return reply.body;
  };
  const until = async <T>(look: () => Promise<T>, is: (seen: T) => boolean): Promise<T> => {
    for (;;) {
      const seen = await look();
      if (is(seen)) return seen;
      await sleep(100);
    }
  };
  const show = (id: string): Promise<Reply['body']> => api('GET', `/app/shop/deployments/${id}`);
  const deploy = async (build: string): Promise<string> => {
    const target = { servers: ['s0'], gitdeploys: ['Web'] };
    return (await api('POST', `/app/shop/deployments?build_name=${build}`, target)).id;
  };
  /** What the step has printed, as a reader of the stream sees it. */
  const outputOf = async (id: string): Promise<string> => {
    const reply = await fetch(new URL(`/app/shop/deployments/${id}/events`, muster.url), {
      headers: { authorization: `Bearer ${muster.token}` },
    });
    const blocks = (await reply.text())
      .split('\n\n')
      .filter((block) => block.includes('event: output'));
    return blocks
      .map((block) => JSON.parse(/^data: (.*)$/m.exec(block)?.[1] ?? '{}').text ?? '')
      .join('');
  };

  beforeAll(async () => {
    directory = await makeTemporaryDirectory();
    await mkdir(join(directory.path, 's0/opt'), { recursive: true });
    muster = await startMuster('distributed', { MUSTER_JOB_LEASE_SECONDS: '5' });
    await api('PUT', '/app?app_name=shop');
    const connection = { kind: 'local', root: join(directory.path, 's0') };
    await api('PUT', '/server?name=s0&environment=production', { connection });
    await api('PUT', '/app/shop/gitrepos?name=web&wait=60');
    const waiting = (phase: string, then: string): object => ({
      [phase]: { 'cmd.run': [{ name: WAITING.replaceAll('PHASE', phase) + then }] },
    });
    await api('PUT', '/app/shop/gitdeploys?name=Web', {
      package: 'master',
      location: { path: '/opt/web', gitrepo: 'web', default_branch: 'master' },
      actions: {
        prepull: waiting('prepull', ''),
        postpull: waiting('postpull', '; test ! -e ../broken'),
      },
    });
    await api('POST', '/app/shop/gitdeploys/Web?initialize=true&wait=60', { servers: ['s0'] });
    for (const build of ['b1', 'b2']) {
      await api('PUT', `/app/shop/builds?build_name=${build}`);
      const archive = await packTarGz({ version: `${build}\n` });
      await api('POST', `/app/shop/builds/${build}?file_type=tar.gz&wait=60`, archive);
    }
  });
  afterAll(async () => {
    await muster.close();
    await directory.remove();
  });

  it('goes on where it was, runs nothing twice, and tells each line once', async () => {
    const id = await deploy('b1');
    await until(
      () => read('marker-prepull'),
      (marker) => marker !== '',
    );
    await muster.killWorkers();
    await writeFile(file('gate-prepull'), '');
    await muster.startWorker();
    await until(
      () => read('marker-postpull'),
      (marker) => marker !== '',
    );
    await muster.killWorkers();
    await writeFile(file('gate-postpull'), '');
    await muster.startWorker();
    const done = await until(
      () => show(id),
      ({ finished_at }) => finished_at !== null,
    );
    expect(done).toMatchObject({ status: 'succeeded' });
    expect([await read('marker-prepull'), await read('marker-postpull')]).toEqual([
      'begun\n',
      'begun\n',
    ]);
    const lines = (await outputOf(id))
      .split('\n')
      .map((line) => line.replace(/^switch: .*/, 'switch'));
    expect(lines).toEqual([
      'prepull one',
      'prepull two',
      'prepull prepull (cmd.run): changed, exit code 0',
      'switch',
      'postpull one',
      'postpull two',
      'postpull postpull (cmd.run): changed, exit code 0',
      '',
    ]);
  });

  it('is taken back if its postpull fails then, although another worker has made the switch', async () => {
    expect(await read('web/version')).toBe('b1\n');
    await muster.startWorker();
    await Promise.all(
      ['marker-postpull', 'gate-postpull'].map((name) => rm(file(name), { force: true })),
    );
    const id = await deploy('b2');
    await until(
      () => read('marker-postpull'),
      (marker) => marker !== '',
    );
    expect(await read('web/version')).toBe('b2\n');
    await muster.killWorkers();
    await writeFile(file('broken'), '');
    await writeFile(file('gate-postpull'), '');
    await muster.startWorker();
    const done = await until(
      () => show(id),
      ({ finished_at }) => finished_at !== null,
    );
    expect(done).toMatchObject({ status: 'failed' });
    expect(done.batches[0].steps[0]).toMatchObject({
      status: 'failed',
      error: { code: 'action_failed', details: { phase: 'postpull' } },
    });
    expect(await read('web/version')).toBe('b1\n');
    expect(await read('marker-postpull')).toBe('begun\n');
    const { census } = await api('GET', '/app/shop');
    expect(JSON.stringify(census.production)).toContain('"deployed":"b1"');
  });

  it('and that is cancelled before another one has it, is ended on the server and taken back there', async () => {
    await muster.startWorker();
    for (const name of ['broken', 'marker-postpull', 'gate-postpull']) {
      await rm(file(name), { force: true });
    }
    const id = await deploy('b2');
    await until(
      () => read('marker-postpull'),
      (marker) => marker !== '',
    );
    const pid = (await read('pid-postpull')).trim();
    const isRunning = () =>
      readFile(`/proc/${pid}/cmdline`, 'utf8').then(
        (line) => line !== '',
        () => false,
      );
    expect(await isRunning()).toBe(true);
    await muster.killWorkers();
    await api('POST', `/app/shop/deployments/${id}/cancel`);
    expect(await isRunning()).toBe(true);
    await muster.startWorker();
    const done = await until(
      () => show(id),
      ({ finished_at }) => finished_at !== null,
    );
    expect(done).toMatchObject({ status: 'cancelled' });
    expect(await isRunning()).toBe(false);
    expect(await read('web/version')).toBe('b1\n');
  });
});
