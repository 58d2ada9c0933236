import { readdir, readFile, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { deinitializeReleasesScript } from '../../../../src/remote/releases/deinitialize.ts';
import { initializeReleasesScript } from '../../../../src/remote/releases/initialize.ts';
import { prepareReleaseScript } from '../../../../src/remote/releases/prepare.ts';
import { pruneReleasesScript } from '../../../../src/remote/releases/prune.ts';
import { switchReleaseScript } from '../../../../src/remote/releases/switch.ts';
import type { RemoteScript } from '../../../../src/remote/script.ts';
import { BRANCH, gitLine, INSTALLATION } from '../clone-lab.ts';
import { NEXT_KILL, runAndKill } from '../run-and-kill.ts';
import { makeReleaseLab, type ReleaseLab } from './release-lab.ts';

/** What changes something on a server, beside git. */
const FILE_PROGRAMS = ['mv', 'ln', 'mkdir', 'rmdir'];
const PROGRAMS = ['git', ...FILE_PROGRAMS];

let lab: ReleaseLab;
const common = (): { path: string; branch: string; installationId: string } => ({
  path: lab.path,
  branch: BRANCH,
  installationId: INSTALLATION,
});
const around = async (): Promise<string[]> => (await readdir(join(lab.path, '..'))).sort();

beforeEach(async () => {
  lab = await makeReleaseLab();
});
afterEach(async () => {
  await lab.close();
});

/** Kills the script at its calls in turn, before one and after the next, until it comes to its end. */
async function killEverywhere(
  programs: readonly string[],
  round: (
    at: number,
  ) => Promise<{ script: RemoteScript; input?: Buffer; check: () => Promise<void> }>,
): Promise<number> {
  for (let at = 1; ; at += NEXT_KILL) {
    const { script, input, check } = await round(at);
    const when = at % 2 === 0 ? 'after' : 'before';
    const kill = { at, when, programs } as const;
    const wasKilled = await runAndKill(join(lab.root, '..', 'killing'), script, kill, input);
    await check();
    if (!wasKilled) return at;
  }
}

describe('a script on releases that is killed wherever it changes something', () => {
  it('leaves a switch that shows the old build or the new one, and that the next one ends', async () => {
    const one = lab.upstream.commit({ a: '1\n', b: '1\n' });
    await lab.initialize(one);
    const two = lab.upstream.commit({ a: '2\n', b: '2\n' }, one);
    await lab.deploy(two, one);
    const names = [await lab.shown()];
    await lab.switchTo(one);
    names.unshift(await lab.shown());
    const count = await killEverywhere(PROGRAMS, (at) => {
      const [from, to] = at % 2 === 1 ? [one, two] : [two, one];
      const fence = 10 + at;
      const call = { ...common(), target: to, fence, holder: 'deployment 1', step: `${at}` };
      return Promise.resolve({
        script: switchReleaseScript(call),
        check: async () => {
          const [a, b] = [
            await readFile(join(lab.path, 'a'), 'utf8'),
            await readFile(join(lab.path, 'b'), 'utf8'),
          ];
          expect({ at, a }).toEqual({ at, a: b });
          const [before, after] = from === one ? names : names.toReversed();
          // Asked again for the same step, it tells what is to be taken back, wherever it was killed.
          expect({ at, ...(await lab.switchTo(to, fence, `${at}`)) }).toMatchObject({
            at,
            state: 'switched',
            from,
            head: to,
            release: { name: after, previous: before },
          });
          expect(await lab.shown()).toBe(after);
          expect(gitLine(lab.home, 'rev-parse', 'refs/muster/deployed')).toBe(to);
          expect(await readFile(join(lab.home, '.git/muster-history'), 'utf8')).toBe(
            `${before}\n${after}\n`,
          );
          expect(await around()).toEqual(['.app.muster', 'app']);
        },
      });
    });
    expect(count).toBeGreaterThan(8);
  }, 300_000);

  it('leaves a release that is never taken for whole, and that the next one makes anew', async () => {
    const one = lab.upstream.commit({ a: '1\n' });
    await lab.initialize(one);
    const shown = await readlink(lab.path);
    const wanted = [one];
    for (let n = 1; n <= 24; n += 1) {
      wanted.push(lab.upstream.commit({ a: '1\n', [`new-${n}`]: 'build\n' }, wanted[n - 1]));
    }
    await lab.stage(wanted.at(-1) ?? '', one);
    const count = await killEverywhere(PROGRAMS, (at) => {
      const want = wanted[at] ?? '';
      return Promise.resolve({
        script: prepareReleaseScript({ ...common(), want, content: '', gitignore: [] }),
        check: async () => {
          expect(await readlink(lab.path)).toBe(shown);
          await lab.prepare(want);
          const made = await readdir(join(lab.home, 'releases'));
          expect(await readdir(join(lab.home, '.git/muster-releases'))).toEqual(made);
          for (const name of made) {
            const tree = (
              await readFile(join(lab.home, '.git/muster-releases', name, 'tree'), 'utf8')
            ).trim();
            const files = gitLine(lab.home, 'ls-tree', '-r', '--name-only', tree).split('\n');
            expect((await readdir(join(lab.home, 'releases', name))).sort()).toEqual(files.sort());
          }
        },
      });
    });
    expect(count).toBeGreaterThan(6);
    expect(count).toBeLessThan(24);
  }, 300_000);

  it('leaves an initialization that the next one ends, and a deinitialization, too', async () => {
    const commit = lab.upstream.commit({ a: '1\n', 'd/b': '1\n' });
    const pack = lab.upstream.pack(commit);
    const initialize = { ...common(), commit, gitrepo: 'shop/web', gitignore: [] };
    // Where git makes the repository, it is as when a clone is made.
    const made = await killEverywhere(FILE_PROGRAMS, () =>
      Promise.resolve({
        script: initializeReleasesScript(initialize),
        input: pack,
        check: async () => {
          expect((await lab.initialize(commit)).head).toBe(commit);
          expect(await readFile(join(lab.path, 'd/b'), 'utf8')).toBe('1\n');
          expect(await around()).toEqual(['.app.muster', 'app']);
          await lab.deinitialize();
        },
      }),
    );
    expect(made).toBeGreaterThan(6);
    await killEverywhere(['rm', 'mv', 'rmdir'], async () => {
      await lab.initialize(commit);
      return {
        script: deinitializeReleasesScript(common()),
        check: async () => {
          expect((await lab.deinitialize()).left).toEqual([]);
          expect(await around()).toEqual([]);
        },
      };
    });
  }, 300_000);

  it('leaves a prune that the next one ends', async () => {
    let have = lab.upstream.commit({ a: '0\n' });
    await lab.initialize(have);
    await killEverywhere(['git', 'rm'], async (at) => {
      for (const n of at === 1 ? [1, 2] : [1]) {
        const next = lab.upstream.commit({ a: `${at} ${n}\n` }, have);
        await lab.deploy(next, have);
        have = next;
      }
      const { path, installationId } = common();
      const script = pruneReleasesScript({
        path,
        installationId,
        keep: 2,
        fence: lab.fence(),
        holder: 'deployment 1',
      });
      return {
        script,
        check: async () => {
          await lab.prune(2);
          const left = await readdir(join(lab.home, 'releases'));
          expect({ at, left: left.length }).toEqual({ at, left: 2 });
          expect(left).toContain(await lab.shown());
          expect(await readdir(join(lab.home, '.git/muster-releases'))).toEqual(left);
        },
      };
    });
  }, 300_000);
});
