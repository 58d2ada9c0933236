import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { access, open, readFile, realpath, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { releaseOperands } from '../../../../src/remote/releases/layout.ts';
import { RELEASES_PRELUDE } from '../../../../src/remote/releases/prelude.ts';
import { SHELL_PRELUDE } from '../../../../src/remote/shell-prelude.ts';
import type { Tree } from '../clone-lab.ts';
import { makeReleaseLab } from './release-lab.ts';

const FILES = Array.from({ length: 50 }, (_, n) => `file-${n}`);
const SWITCHES = 1000;

/** What moves the link in a switch, again and again: the rest of a switch nobody sees, and it takes its time. */
const SWITCH_ON_AND_ON = `${SHELL_PRELUDE}${RELEASES_PRELUDE}
path=$1 home=$2 folder=$3 one=$4 two=$5 enough=$6 stop=$7
count=0
until [ "$count" -ge ${SWITCHES} ] && [ -e "$stop" ]; do
  show "$one" && show "$two" || exit 3
  count=$((count + 2))
  [ "$count" -ne ${SWITCHES} ] || : >"$enough"
done
`;

const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );

describe('who reads during a thousand switches', () => {
  it('never meets two builds in one, nor a file that is not there', async () => {
    const lab = await makeReleaseLab();
    let end = (): Promise<unknown> => Promise.resolve();
    try {
      const treeOf = (build: string): Tree =>
        Object.fromEntries(FILES.map((name) => [name, build]));
      const one = lab.upstream.commit(treeOf('one'));
      await lab.initialize(one);
      const first = await lab.shown();
      const { release } = await lab.deploy(lab.upstream.commit(treeOf('two'), one), one);
      const enough = join(lab.root, 'enough');
      const stop = join(lab.root, 'stop');
      const operands = [...releaseOperands(lab.path), first, release?.name ?? '', enough, stop];
      const writer = spawn('sh', ['-c', SWITCH_ON_AND_ON, 'sh', ...operands], { stdio: 'ignore' });
      const ended = once(writer, 'exit');
      end = async () => {
        writer.kill('SIGKILL');
        await ended;
      };
      const seen = new Set<string>();
      const isRunning = (): boolean => writer.exitCode === null && writer.signalCode === null;
      while (isRunning() && (seen.size < 2 || !(await exists(enough)))) {
        // The path is resolved once, as a process does that starts in it; then all files are of one build.
        const root = await realpath(lab.path);
        const builds = new Set(
          await Promise.all(FILES.map((name) => readFile(join(root, name), 'utf8'))),
        );
        expect(builds.size).toBe(1);
        for (const build of builds) seen.add(build);
        // Whoever opens one file after the other by the path may meet either build, but always finds the file.
        for (const name of FILES) await (await open(join(lab.path, name))).close();
      }
      await writeFile(stop, '');
      expect(await ended).toEqual([0, null]);
      expect([...seen].sort()).toEqual(['one', 'two']);
    } finally {
      await end();
      await lab.close();
    }
  }, 180_000);
});
