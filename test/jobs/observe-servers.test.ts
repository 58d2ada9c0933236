import { spawnSync } from 'node:child_process';
import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { observeDueServers, startObserver } from '../../src/jobs/observe-servers.ts';
import { acquireLeases, leaseKey, releaseHolder } from '../../src/store/leases.ts';
import { makeTemporaryDirectory, type TemporaryDirectory } from '../support/temporary-directory.ts';
import { startWorkingApi, type WorkingApi } from './working-api.ts';

const SERVERS = ['web01', 'web02', 'web03', 'web04'];

let api: WorkingApi;
let directory: TemporaryDirectory;

const cloneOf = (server: string): string => join(directory.path, server, 'opt/web');
/** What somebody does by hand in a clone. */
const byHand = (server: string, ...args: string[]): string => {
  const identity = ['-c', 'user.name=Someone', '-c', 'user.email=someone@localhost'];
  const done = spawnSync('git', ['-C', cloneOf(server), ...identity, ...args]);
  if (done.status !== 0) throw new Error(done.stderr.toString());
  return done.stdout.toString().trim();
};
const head = (server: string): string => byHand(server, 'rev-parse', 'HEAD');
/** As if nobody had ever done anything by hand. */
const startOver = (server: string): void => {
  byHand(server, 'checkout', '-q', '-f', '-B', 'master', 'refs/muster/deployed');
};
const edit = (server: string, text: string): Promise<void> =>
  writeFile(join(cloneOf(server), 'same'), text);
const leaf = async (server: string) =>
  (await api.must('GET', `/app/shop/census?details=true&server=${server}`))['production']['-'][
    server
  ]['Web'];
const brief = async (server: string): Promise<[string | null, string]> => {
  const { deployed, drift } = await leaf(server);
  return [deployed, drift];
};
const observer = () => ({
  dependencies: api.dependencies,
  log: pino({ level: 'silent' }),
  intervalSeconds: 300,
});
const deploy = async (name: string, ...servers: string[]): Promise<number> =>
  (await api.deploy('shop', { name }, servers)).status;
const never = new AbortController().signal;
const forgetObservations = () =>
  api.services.database.db.installation.updateMany({ data: { observedAt: null } });

beforeAll(async () => {
  api = await startWorkingApi();
  directory = await makeTemporaryDirectory();
  for (const name of SERVERS) {
    const root = join(directory.path, name);
    await mkdir(join(root, 'opt'), { recursive: true });
    const connection = { kind: 'local', root };
    await api.must('PUT', `/server?name=${name}&environment=production`, { connection });
  }
  await api.makeApplication('shop', SERVERS);
  for (const build of ['b1', 'b2']) {
    expect(await deploy(build, ...SERVERS)).toBe(200);
  }
});
afterAll(async () => {
  await api.close();
  await directory.remove();
});

describe('a check of a server', () => {
  beforeEach(async () => {
    for (const name of SERVERS) startOver(name);
    await forgetObservations();
    await observeDueServers(observer(), never);
  });

  it('tells what the server is, and keeps it', async () => {
    const reply = await api.check('web01');
    expect(reply).toMatchObject({ status: 200, body: { job: { status: 'succeeded' } } });
    const facts = {
      hostname: expect.any(String),
      os: { id: expect.any(String), version: expect.any(String), name: expect.any(String) },
      git_version: expect.stringMatching(/^2\./),
      git_supported: true,
      free_disk_bytes: expect.any(Number),
      host_key_fingerprint: null,
      clock_skew_ms: expect.any(Number),
      round_trip_ms: expect.any(Number),
      become_works: null,
      problems: [],
    };
    expect(reply.body.job.result).toEqual({
      server: 'web01',
      ...facts,
      host_key_pinned: false,
      gitdeploys: [{ application: 'shop', gitdeploy: 'Web', path: '/opt/web', drift: 'none' }],
    });
    expect(Math.abs(reply.body.facts.clock_skew_ms)).toBeLessThan(60_000);
    expect(reply.body.facts.round_trip_ms).toBeGreaterThan(0);
    expect(await api.must('GET', '/server/web01')).toMatchObject({
      facts,
      checked_at: expect.stringMatching(/Z$/),
      gitdeploys: [{ gitdeploy: 'Web', deployed: 'b2', drift: 'none' }],
    });
  });

  it('sees files that were changed, but not files that were added', async () => {
    await edit('web01', 'by hand\n');
    await writeFile(join(cloneOf('web02'), 'notes'), 'mine\n');
    for (const name of ['web01', 'web02']) await api.check(name);
    expect([await brief('web01'), await brief('web02')]).toEqual([
      ['b2', 'modified'],
      ['b2', 'none'],
    ]);
    const observedAt = (await leaf('web01')).observed_at;
    expect(Date.now() - Date.parse(observedAt)).toBeLessThan(120_000);
  });

  it('sees what a server was rolled back to by hand, and that it came back', async () => {
    const before = await leaf('web01');
    byHand('web01', 'reset', '-q', '--hard', 'HEAD~1');
    await api.check('web01');
    const after = await leaf('web01');
    expect(after).toMatchObject({ deployed: 'b1', drift: 'moved', committed: before.committed });
    expect(after.deployed_commit).toBe(head('web01'));
    expect(after.deployment_id).not.toBe(before.deployment_id);
    expect(Date.parse(after.deployed_at)).toBeGreaterThan(Date.parse(before.deployed_at));
    expect(await brief('web02')).toEqual(['b2', 'none']);
    // It stays so however often it is looked at, but for the time of the look.
    await api.check('web01');
    const { observed_at: seenAgain, ...again } = await leaf('web01');
    expect({ ...again, observed_at: after.observed_at }).toEqual(after);
    expect(Date.parse(seenAgain)).toBeGreaterThan(Date.parse(after.observed_at));
    byHand('web01', 'reset', '-q', '--hard', before.deployed_commit);
    await api.check('web01');
    expect(await leaf('web01')).toMatchObject({
      deployed: 'b2',
      drift: 'none',
      deployed_commit: before.deployed_commit,
      deployment_id: before.deployment_id,
    });
  });

  it('says that files differ from the build where local changes were merged with it', async () => {
    await edit('web04', 'local\n');
    expect(await deploy('b3', 'web04')).toBe(200);
    // At once, and when it has been looked at.
    const merged = await leaf('web04');
    expect(merged).toMatchObject({ deployed: 'b3', drift: 'modified' });
    expect(head('web04')).not.toBe(merged.deployed_commit);
    expect(byHand('web04', 'status', '--porcelain')).toBe('');
    await api.check('web04');
    const { observed_at: _, ...checked } = await leaf('web04');
    expect(merged).toMatchObject(checked);
    // Changed back by hand, and deployed: then there is nothing of it any more.
    await edit('web04', 'same\n');
    expect(await deploy('b3a', 'web04')).toBe(200);
    expect(await brief('web04')).toEqual(['b3a', 'none']);
    await api.check('web04');
    expect(await brief('web04')).toEqual(['b3a', 'none']);
  });

  it('knows no build of what others committed, and deploys on from it', async () => {
    const before = await leaf('web04');
    await edit('web04', 'more\n');
    byHand('web04', 'commit', '-q', '-a', '-m', 'by hand');
    await api.check('web04');
    const moved = await leaf('web04');
    expect(moved).toMatchObject({ deployed: null, drift: 'moved', deployment_id: null });
    expect(moved.deployed_commit).toBe(head('web04'));
    expect(Date.parse(moved.deployed_at)).toBeGreaterThan(Date.parse(before.deployed_at));
    expect(await deploy('b4', 'web04')).toBe(200);
    expect(byHand('web04', 'show', 'HEAD:same')).toBe('more');
    expect(await brief('web04')).toEqual(['b4', 'modified']);
    await api.check('web04');
    expect(await brief('web04')).toEqual(['b4', 'modified']);
    // A rollback goes back to the build that was below the commit.
    const { deployment_id: id } = await leaf('web04');
    await api.must('POST', `/app/shop/deployments/${id}/rollback?wait=60`);
    expect(await brief('web04')).toEqual([before.deployed, 'modified']);
    expect(byHand('web04', 'show', 'HEAD:same')).toBe('more');
  });

  it('sees that local changes were merged by a deployment that found the commit there', async () => {
    const { deployed: build } = await leaf('web04');
    await edit('web04', 'once more\n');
    byHand('web04', 'commit', '-q', '-a', '-m', 'by hand');
    expect(await deploy(build, 'web04')).toBe(200);
    expect(await brief('web04')).toEqual([build, 'modified']);
    await api.check('web04');
    expect(await brief('web04')).toEqual([build, 'modified']);
  });

  it('sees a commit that nobody knows, and a HEAD that is detached', async () => {
    byHand('web01', 'checkout', '-q', '--orphan', 'mine');
    byHand('web01', 'commit', '-q', '-m', 'by hand');
    await api.check('web01');
    expect(await leaf('web01')).toMatchObject({
      deployed: null,
      deployed_commit: head('web01'),
      deployment_id: null,
      drift: 'moved',
    });
    byHand('web01', 'checkout', '-q', 'master');
    byHand('web01', 'checkout', '-q', '--detach');
    await api.check('web01');
    expect(await brief('web01')).toEqual(['b2', 'moved']);
    byHand('web01', 'checkout', '-q', 'master');
    await api.check('web01');
    expect(await brief('web01')).toEqual(['b2', 'none']);
  });

  it('sees that no build is there: before the first one, and where the clone is gone', async () => {
    const [root = ''] = byHand('web01', 'rev-list', '--max-parents=0', 'HEAD').split('\n');
    byHand('web01', 'reset', '-q', '--hard', root);
    await rename(cloneOf('web02'), `${cloneOf('web02')}.away`);
    const before = await leaf('web02');
    for (const name of ['web01', 'web02']) await api.check(name);
    const nothing = { deployed: null, deployment_id: null, drift: 'moved' };
    expect(await leaf('web01')).toMatchObject({ ...nothing, deployed_commit: root });
    expect(await leaf('web02')).toMatchObject({
      ...nothing,
      deployed_commit: null,
      deployed_at: null,
    });
    await rename(`${cloneOf('web02')}.away`, cloneOf('web02'));
    await api.check('web02');
    const { deployed_commit, deployment_id } = before;
    expect(await leaf('web02')).toMatchObject({
      deployed: 'b2',
      drift: 'none',
      deployed_commit,
      deployment_id,
    });
  });

  it('says after a deployment that found no clone that there is none', async () => {
    await rename(cloneOf('web02'), `${cloneOf('web02')}.away`);
    expect(await deploy('b2', 'web02')).not.toBe(200);
    expect(await leaf('web02')).toMatchObject({
      deployed: null,
      deployed_commit: null,
      deployed_at: null,
      deployment_id: null,
      drift: 'moved',
    });
    await rename(`${cloneOf('web02')}.away`, cloneOf('web02'));
    await api.check('web02');
    expect(await brief('web02')).toEqual(['b2', 'none']);
  });

  it('fails with the reason where nobody answers, and the census says so', async () => {
    const root = join(directory.path, 'web03');
    await rename(root, `${root}.off`);
    try {
      const reply = await api.check('web03');
      expect([reply.status, reply.body.error.code]).toEqual([503, 'server_unreachable']);
      expect(await brief('web03')).toEqual(['b2', 'unreachable']);
    } finally {
      await rename(`${root}.off`, root);
    }
    await api.check('web03');
    expect(await brief('web03')).toEqual(['b2', 'none']);
  });

  it('takes of two builds with the same files the one that was deployed there', async () => {
    expect(await deploy('b5', 'web04')).toBe(200);
    const twin = { name: 'twin', version: 'b5' };
    expect((await api.deploy('shop', twin, ['web04'])).status).toBe(200);
    const { deployed_commit: commit } = await leaf('web04');
    byHand('web04', 'reset', '-q', '--hard', 'HEAD~1');
    await api.check('web04');
    expect((await brief('web04'))[0]).not.toBe('twin');
    byHand('web04', 'reset', '-q', '--hard', commit);
    await api.check('web04');
    expect(await brief('web04')).toEqual(['twin', 'none']);
  });
});

describe('a server that is reached at another place from now on', () => {
  const moveTo = (root: string) =>
    api.must('PATCH', '/server/web03', { connection: { kind: 'local', root } });
  const over = async (jobId: string): Promise<string> => {
    const done = async () => (await api.must('GET', `/job/${jobId}`)).status;
    await expect.poll(done).toMatch(/succeeded|failed/);
    return done();
  };

  it('is said to have nothing known on it until it has been looked at, which happens at once', async () => {
    const root = join(directory.path, 'web03');
    const before = await leaf('web03');
    const other = join(directory.path, 'other');
    await mkdir(other);
    // Nobody can look, so that what the change itself says can be seen.
    const { database } = api.services;
    const row = await database.db.server.findUniqueOrThrow({ where: { name: 'web03' } });
    const key = leaseKey(row.id, '/opt/web');
    await acquireLeases(database, [key], 'deployment:test');
    const moved = await moveTo(other);
    expect(moved).toMatchObject({
      messages: [expect.stringContaining('leads elsewhere now')],
      gitdeploys: [{ deployed: before.deployed, drift: 'unknown', observed_at: null }],
      job: { kind: 'check_server' },
    });
    expect(await over(moved.job.job_id)).toBe('succeeded');
    expect(await leaf('web03')).toMatchObject({ drift: 'unknown', observed_at: null });
    await releaseHolder(database.db, 'deployment:test');
    await api.check('web03');
    expect(await brief('web03')).toEqual([null, 'moved']);
    // Back again: the same clone, and so the same build.
    const back = await moveTo(root);
    expect(await over(back.job.job_id)).toBe('succeeded');
    expect(await leaf('web03')).toMatchObject({ deployed: before.deployed, drift: 'none' });
    expect(Object.keys(await moveTo(root))).not.toContain('job');
    const { attributes } = await api.must('PATCH', '/server/web03', { attributes: { rack: 7 } });
    expect(attributes).toEqual({ rack: 7 });
    expect((await leaf('web03')).drift).toBe('none');
  });

  it('stays unreachable until it is reached there', async () => {
    const root = join(directory.path, 'web03');
    const gone = await moveTo(join(directory.path, 'nowhere'));
    expect(await over(gone.job.job_id)).toBe('failed');
    expect((await leaf('web03')).drift).toBe('unreachable');
    const back = await moveTo(root);
    expect(back.gitdeploys).toMatchObject([{ drift: 'unreachable', observed_at: null }]);
    expect(await over(back.job.job_id)).toBe('succeeded');
    expect((await leaf('web03')).drift).toBe('none');
  });
});

describe('the observer', () => {
  it('looks at every server whose last look is too long ago, and at no other', async () => {
    await edit('web01', 'observed\n');
    await forgetObservations();
    await observeDueServers(observer(), never);
    expect((await brief('web01'))[1]).toBe('modified');
    const seen = (await leaf('web01')).observed_at;
    byHand('web01', 'reset', '-q', '--hard');
    await observeDueServers(observer(), never);
    expect(await leaf('web01')).toMatchObject({ drift: 'modified', observed_at: seen });
  });

  it('leaves alone what somebody works on', async () => {
    const { database } = api.services;
    const row = await database.db.server.findUniqueOrThrow({ where: { name: 'web01' } });
    await forgetObservations();
    const key = leaseKey(row.id, '/opt/web');
    await acquireLeases(database, [key], 'deployment:test');
    await edit('web01', 'half written\n');
    const reply = await api.check('web01');
    expect(reply.body.job.result.gitdeploys).toMatchObject([{ drift: 'busy' }]);
    await observeDueServers(observer(), never);
    expect((await leaf('web01')).observed_at).toBeNull();
    await database.db.lease.update({ where: { key }, data: { expiresAt: new Date(0) } });
    await observeDueServers(observer(), never);
    expect((await brief('web01'))[1]).toBe('modified');
  });

  it('goes on past servers that are away, in silence', async () => {
    const lines: string[] = [];
    const log = pino({ level: 'info' }, { write: (line: string) => void lines.push(line) });
    const root = join(directory.path, 'web02');
    await rename(root, `${root}.off`);
    await forgetObservations();
    await observeDueServers({ ...observer(), log }, never);
    await rename(`${root}.off`, root);
    expect((await brief('web02'))[1]).toBe('unreachable');
    expect((await brief('web03'))[1]).toBe('none');
    expect(lines).toEqual([]);
  });

  it('is one of all workers, until that one ends', async () => {
    const { database } = api.services;
    const options = { ...observer(), intervalSeconds: 1 };
    const [first, second] = [startObserver(options), startObserver(options)];
    const holder = async (): Promise<string | undefined> =>
      (await database.db.lease.findUnique({ where: { key: 'observer' } }))?.holder;
    await expect.poll(holder).toMatch(/^observer:/);
    const before = await holder();
    await new Promise((resolve) => setTimeout(resolve, 1200));
    expect(await holder()).toBe(before);
    await Promise.all([first.close(), second.close()]);
    expect(await holder()).toBe('');
    const third = startObserver(options);
    await expect.poll(holder).toMatch(/^observer:/);
    await third.close();
  });

  it('notices by itself what was changed', async () => {
    byHand('web01', 'reset', '-q', '--hard');
    await forgetObservations();
    const running = startObserver({ ...observer(), intervalSeconds: 1 });
    await expect.poll(async () => (await brief('web01'))[1]).toBe('none');
    await edit('web01', 'changed while it runs\n');
    await expect.poll(async () => (await brief('web01'))[1]).toBe('modified');
    await running.close();
    await rm(join(cloneOf('web01'), 'same'));
    byHand('web01', 'reset', '-q', '--hard');
  });
});
