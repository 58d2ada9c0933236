import { spawnSync } from 'node:child_process';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { GO } from '../../../src/remote/await-go.ts';
import { initializeScript } from '../../../src/remote/initialize.ts';
import { stageScript } from '../../../src/remote/stage.ts';
import { switchScript } from '../../../src/remote/switch.ts';
import {
  BRANCH,
  type CloneLab,
  gitLine,
  INSTALLATION,
  makeCloneLab,
  switchDefaults,
} from './clone-lab.ts';
import { NEXT_KILL, runAndKill } from './run-and-kill.ts';

let lab: CloneLab;
const file = (name: string): string => join(lab.path, name);

beforeEach(async () => {
  lab = await makeCloneLab();
});
afterEach(async () => {
  await lab.close();
});

/** Both of the even and of the odd calls, which are met in one way each, every second one. */
const TOLD_OF_FOUR: readonly number[] = [0, 1];

const TOLD_TO_GO = Buffer.from(`${GO}\n`);
const killing = (): string => join(lab.root, '..', 'killing-git');

describe('a script that is killed at any git command', () => {
  // Killed after a call or before the next one is nearly the same, so each call is met in one of both ways, in turn.
  it('leaves a clone that the next switch brings to its end', async () => {
    const base = { a: '1\n', b: '1\n', c: '1\n', gone: '1\n' };
    const one = lab.upstream.commit(base);
    await lab.initialize(one);
    let have = one;
    let at = 1;
    for (let wasKilled = true; wasKilled; at += NEXT_KILL) {
      const when = at % 2 === 0 ? 'after' : 'before';
      // Each round: one file changed by hand, one untracked in the way, one added, one changed by the build.
      const mine = `by hand ${at}\n`;
      await writeFile(file('a'), mine);
      await writeFile(file(`new-${at}`), mine);
      const next = lab.upstream.commit(
        { ...base, b: `${at}\n`, [`new-${at}`]: 'build\n', [`add-${at}`]: 'build\n' },
        have,
      );
      await lab.stage(next, have);
      const from = gitLine(lab.path, 'rev-parse', 'HEAD');
      const step = `step-${at}`;
      const script = switchScript({ ...switchDefaults(lab.path, next, at), step, together: true });
      wasKilled = await runAndKill(killing(), script, { at, when }, TOLD_TO_GO);
      const done = await lab.switchTo(next, { fence: at, step });
      // Whoever asks again hears what was done, also if nobody was told the first time.
      expect({ at, ...done }).toMatchObject({
        at,
        state: 'merged',
        from,
        localCommit: expect.any(String),
      });
      const seen = await Promise.all(
        ['a', 'b', `new-${at}`, `add-${at}`].map((name) => readFile(file(name), 'utf8')),
      );
      expect({ at, seen }).toEqual({ at, seen: [mine, `${at}\n`, mine, 'build\n'] });
      expect(gitLine(lab.path, 'status', '--porcelain')).toBe('');
      expect(gitLine(lab.path, 'rev-parse', 'HEAD')).toBe(done.head);
      expect(done.kept).toEqual([]);
      expect((await readdir(file('.git'))).filter((name) => name.startsWith('muster'))).toEqual([
        'muster-fence',
        'muster-switched',
      ]);
      have = next;
    }
    expect(at).toBeGreaterThan(20);
  }, 300_000);

  it('leaves a clone that nobody has touched as the old build or the new one, which the next switch ends', async () => {
    const files = (at: number) => ({ a: `${at}\n`, b: '1\n', [`d/new-${at}`]: 'build\n' });
    let have = lab.upstream.commit(files(0));
    await lab.initialize(have);
    let at = 1;
    for (let isOver = false; !isOver; at += NEXT_KILL) {
      const when = at % 2 === 0 ? 'after' : 'before';
      const next = lab.upstream.commit(files(at), have);
      await lab.stage(next, have);
      const step = `step-${at}`;
      // In half of the kills it is told what the commit changes.
      const changes = { parent: have, changedFiles: 3, added: [`d/new-${at}`] };
      const isTold = TOLD_OF_FOUR.includes(at % 4);
      const known = isTold ? { changes } : {};
      const defaults = switchDefaults(lab.path, next, at);
      const script = switchScript({ ...defaults, step, together: true, ...known });
      const kill = { at, when, programs: ['git', 'mv', 'rm', 'mkdir'] } as const;
      const wasKilled = await runAndKill(killing(), script, kill, TOLD_TO_GO);
      // One that is told needs fewer calls.
      isOver = !wasKilled && !isTold;
      const done = await lab.switchTo(next, { fence: at, step, ...known });
      expect({ at, ...done }).toMatchObject({
        at,
        state: 'switched',
        from: have,
        head: next,
        localCommit: null,
        changedFiles: 3,
        modified: false,
        kept: [],
      });
      expect({ at, a: await readFile(file('a'), 'utf8') }).toEqual({ at, a: `${at}\n` });
      expect(await readdir(file('d'))).toEqual([`new-${at}`]);
      expect(gitLine(lab.path, 'status', '--porcelain')).toBe('');
      const refs = ['HEAD', 'refs/muster/deployed', 'refs/muster/head'];
      for (const ref of refs) expect(gitLine(lab.path, 'rev-parse', ref)).toBe(next);
      expect(gitLine(lab.path, 'rev-parse', 'refs/muster/head-before')).toBe(have);
      expect((await readdir(file('.git'))).filter((name) => name.startsWith('muster'))).toEqual([
        'muster-fence',
        'muster-switched',
      ]);
      have = next;
    }
    // Four commands of git, and what is moved and made around them.
    expect(at).toBeGreaterThan(7);
    expect(at).toBeLessThan(20);
  }, 300_000);

  it('leaves a stage that the next one ends, without rubbish', async () => {
    const one = lab.upstream.commit({ a: '1\n' });
    await lab.initialize(one);
    const want = lab.upstream.commit({ a: '2\n' }, one);
    const script = stageScript({
      path: lab.path,
      branch: BRANCH,
      installationId: INSTALLATION,
      want,
      have: one,
    });
    let at = 1;
    while (await runAndKill(killing(), script, { at, when: 'after' }, lab.upstream.pack(want, one)))
      at += 1;
    // Two commands of git, and the end.
    expect(at).toBe(3);
    expect((await lab.stage(want, one)).state).toBe('present');
    expect((await readdir(file('.git'))).filter((name) => name.startsWith('muster'))).toEqual([]);
  });

  it('leaves an initialization that the next one ends, into a folder that exists or not', async () => {
    const commit = lab.upstream.commit({ a: '1\n', 'd/b': '1\n' });
    const options = {
      path: lab.path,
      branch: BRANCH,
      commit,
      installationId: INSTALLATION,
      gitrepo: 'shop/web',
      gitignore: [],
    };
    const pack = lab.upstream.pack(commit);
    let at = 1;
    for (let wasKilled = true; wasKilled; at += NEXT_KILL) {
      const exists = at % 2 === 0;
      if (exists) await mkdir(lab.path);
      wasKilled = await runAndKill(
        killing(),
        initializeScript(options),
        { at, when: 'after' },
        pack,
      );
      const done = await lab.initialize(commit);
      expect(done.head).toBe(commit);
      expect(gitLine(lab.path, 'status', '--porcelain')).toBe('');
      expect(await readdir(join(lab.path, '..'))).toEqual(['app']);
      await lab.deinitialize();
      if (exists) spawnSync('rmdir', [lab.path]);
    }
    expect(at).toBeGreaterThan(10);
  }, 300_000);
});
