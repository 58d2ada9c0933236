import { mkdir, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  type InspectAnswer,
  inspectAnswerSchema,
  inspectScript,
} from '../../../src/remote/inspect.ts';
import { connectLocal } from '../../../src/transport/local.ts';
import { runOperation } from '../../../src/transport/run-operation.ts';
import { type CloneLab, gitLine, INSTALLATION, makeCloneLab, snapshot } from './clone-lab.ts';

let lab: CloneLab;
beforeEach(async () => {
  lab = await makeCloneLab();
});
afterEach(async () => {
  await lab.close();
});

const inspect = async (path = lab.path, connection = lab.connection): Promise<InspectAnswer> =>
  await runOperation(connection, inspectScript({ path }), inspectAnswerSchema, {
    timeoutMs: 10_000,
  });

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
    expect(Math.abs(seen.clockEpochSeconds - Date.now() / 1000)).toBeLessThan(5);
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
      modified: false,
      localCommits: 1,
      deployed: one,
    });
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
