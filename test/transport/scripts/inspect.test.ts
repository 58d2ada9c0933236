import { mkdir, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  type InspectAnswer,
  inspectAnswerSchema,
  inspectScript,
} from '../../../src/remote/inspect.ts';
import { revertAnswerSchema, revertScript } from '../../../src/remote/revert.ts';
import { connectLocal } from '../../../src/transport/local.ts';
import { runOperation } from '../../../src/transport/run-operation.ts';
import {
  BRANCH,
  type CloneLab,
  gitLine,
  INSTALLATION,
  makeCloneLab,
  snapshot,
} from './clone-lab.ts';

let lab: CloneLab;
beforeEach(async () => {
  lab = await makeCloneLab();
});
afterEach(async () => {
  await lab.close();
});

const inspect = async (
  path = lab.path,
  connection = lab.connection,
): Promise<Omit<InspectAnswer, 'clones'> & InspectAnswer['clones'][number]> => {
  const { clones, ...server } = await inspectAll([path], connection);
  const [clone] = clones;
  if (clone === undefined) throw new Error('nothing was told of the clone');
  return { ...server, ...clone };
};

const inspectAll = async (
  paths: readonly string[],
  connection = lab.connection,
): Promise<InspectAnswer> => {
  const clones = paths.map((path) => ({ path, branch: BRANCH }));
  const script = inspectScript({ root: lab.root, clones });
  return await runOperation(connection, script, inspectAnswerSchema, { timeoutMs: 60_000 });
};

describe('inspect', () => {
  it('tells of the server, and of a path that is not there', async () => {
    const seen = await inspect(`${lab.root}/not/there/yet`);
    expect(seen).toMatchObject({
      state: 'absent',
      hostname: hostname(),
      head: null,
      modified: null,
    });
    expect(seen.gitVersion).toMatch(/^\d+\.\d+/);
    expect(seen.freeDiskBytes).toBeGreaterThan(0);
  });

  it('tells an empty folder from one that is not', async () => {
    await mkdir(lab.path);
    expect((await inspect()).state).toBe('empty');
    await writeFile(join(lab.path, 'x'), '');
    expect((await inspect()).state).toBe('occupied');
  });

  it('tells how a clone stands, and changes nothing', async () => {
    const one = lab.upstream.commit({ a: '1\n' });
    await lab.initialize(one);
    const clean = {
      state: 'clone',
      installation: INSTALLATION,
      head: one,
      branch: 'master',
      deployed: one,
      modified: false,
      localCommits: 0,
    };
    expect(await inspect()).toMatchObject(clean);
    await writeFile(join(lab.path, 'untracked'), '');
    expect(await inspect()).toMatchObject(clean);
    await writeFile(join(lab.path, 'a'), 'changed\n');
    const before = snapshot(lab.path);
    expect(await inspect()).toMatchObject({ ...clean, modified: true });
    expect(snapshot(lab.path)).toBe(before);
    gitLine(lab.path, 'commit', '-q', '-a', '-m', 'by hand');
    gitLine(lab.path, 'checkout', '-q', '--detach');
    expect(await inspect()).toMatchObject({
      branch: null,
      modified: true,
      localCommits: 1,
      deployed: one,
      left: one,
    });
  });

  it('tells which commit of the gitrepo is in a clone that was moved by hand', async () => {
    const one = lab.upstream.commit({ a: '1\n', b: '1\n' });
    await lab.initialize(one);
    const two = lab.upstream.commit({ a: '2\n', b: '1\n' }, one);
    await lab.deploy(two, one);
    await writeFile(join(lab.path, 'b'), 'by hand\n');
    const three = lab.upstream.commit({ a: '3\n', b: '1\n' }, two);
    const { head } = await lab.deploy(three, two);
    expect(await inspect()).toMatchObject({ head, left: head, base: three, modified: true });
    expect(head).not.toBe(three);
    // What is there then is the local commit that was merged, on the build before.
    gitLine(lab.path, 'reset', '-q', '--hard', 'HEAD~1');
    expect(await inspect()).toMatchObject({ base: two, left: head, deployed: three });
    gitLine(lab.path, 'reset', '-q', '--hard', one);
    await writeFile(join(lab.path, 'b'), 'by hand again\n');
    gitLine(lab.path, 'commit', '-q', '-a', '-m', 'by hand');
    expect(await inspect()).toMatchObject({ base: one, left: head });
    gitLine(lab.path, 'checkout', '-q', '--orphan', 'other');
    gitLine(lab.path, 'commit', '-q', '-m', 'of nobody');
    expect(await inspect()).toMatchObject({ base: null, branch: 'other' });
  });

  it('tells where Muster left a clone, also after a switch that was taken back', async () => {
    const one = lab.upstream.commit({ a: '1\n' });
    await lab.initialize(one);
    const two = lab.upstream.commit({ a: '2\n' }, one);
    await lab.deploy(two, one);
    gitLine(lab.path, 'reset', '-q', '--hard', one);
    expect(await inspect()).toMatchObject({ head: one, left: two, deployed: two });
    const three = lab.upstream.commit({ a: '3\n' }, two);
    const { from, head, localCommit } = await lab.deploy(three, two, { fence: 7 });
    expect(await inspect()).toMatchObject({ head: three, left: three, modified: false });
    // A run after one whose answer was lost finds all done, and forgets nothing.
    expect(await lab.switchTo(three, { fence: 7 })).toMatchObject({ state: 'unchanged' });
    const script = revertScript({
      path: lab.path,
      branch: BRANCH,
      installationId: INSTALLATION,
      ...{ from, head, localCommit, deployed: two, fence: 7, holder: 'test' },
    });
    await runOperation(lab.connection, script, revertAnswerSchema, { timeoutMs: 60_000 });
    expect(await inspect()).toMatchObject({ head: one, left: two, deployed: two });
  });

  it('tells of many paths at once, each for itself', async () => {
    await lab.initialize(lab.upstream.commit({ a: '1\n' }));
    await mkdir(join(lab.root, 'opt/empty'));
    const { clones } = await inspectAll(
      ['opt/empty', 'opt/app', 'opt/none', 'opt'].map((path) => join(lab.root, path)),
    );
    expect(clones.map(({ state }) => state)).toEqual(['empty', 'clone', 'absent', 'occupied']);
    expect(clones.map(({ head }) => head === null)).toEqual([true, false, true, true]);
    expect((await inspectAll([])).clones).toEqual([]);
  });

  it('works, and says so, where git is not installed', async () => {
    const { symlink } = await import('node:fs/promises');
    const folder = join(lab.root, 'bin');
    await mkdir(folder);
    for (const name of ['sh', 'sed', 'tr', 'cut', 'df', 'dirname', 'uname', 'date', 'ls', 'cat'])
      await symlink(`/bin/${name}`, join(folder, name)).catch(() => undefined);
    const withoutGit = await connectLocal({
      name: 'bare',
      root: lab.root,
      searchPath: '/usr/bin:/bin',
      shell: ['env', `PATH=${folder}`, '/bin/sh'],
    });
    expect(await inspect(lab.path, withoutGit)).toMatchObject({
      gitVersion: null,
      state: 'absent',
    });
  });
});
