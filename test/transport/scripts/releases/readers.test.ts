import { open, readFile, realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Tree } from '../clone-lab.ts';
import { makeReleaseLab } from './release-lab.ts';

const FILES = Array.from({ length: 50 }, (_, n) => `file-${n}`);
/** More of them take longer and show the same more often: see docs/switching.md. */
const SWITCHES = Number(process.env['MUSTER_TEST_SWITCHES'] ?? 100);

/** What a reader has met so far. */
interface Seen {
  readonly builds: Set<string>;
  /** How often the files of a whole build were read. */
  rounds: number;
  /** How many of these were under way while the link moved. */
  overtaken: number;
}

/** Reads all files again and again until it is stopped, and fails as soon as they are not of one build. */
async function readOnAndOn(path: string, seen: Seen, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    // The path is resolved once, as a process does that starts in it; then all files are of one build.
    const root = await realpath(path);
    const builds = new Set(
      await Promise.all(FILES.map((name) => readFile(join(root, name), 'utf8'))),
    );
    expect(builds.size).toBe(1);
    for (const build of builds) seen.builds.add(build);
    // Whoever opens one file after the other by the path may meet either build, but always finds the file.
    for (const name of FILES) await (await open(join(path, name))).close();
    seen.rounds += 1;
    if ((await realpath(path)) !== root) seen.overtaken += 1;
  }
}

describe(`who reads during ${SWITCHES} switches`, () => {
  it(
    'never meets two builds in one, nor a file that is not there',
    async ({ annotate }) => {
      const lab = await makeReleaseLab();
      const stop = new AbortController();
      let reading = Promise.resolve();
      try {
        const treeOf = (build: string): Tree =>
          Object.fromEntries(FILES.map((name) => [name, build]));
        const one = lab.upstream.commit(treeOf('one'));
        await lab.initialize(one);
        const two = lab.upstream.commit(treeOf('two'), one);
        await lab.deploy(two, one);
        const seen: Seen = { builds: new Set(), rounds: 0, overtaken: 0 };
        reading = readOnAndOn(lab.path, seen, stop.signal).finally(() => stop.abort());
        reading.catch(() => undefined);
        let switches = 0;
        while (
          !stop.signal.aborted &&
          (switches < SWITCHES || seen.builds.size < 2 || seen.overtaken === 0)
        ) {
          const { state } = await lab.switchTo(switches % 2 === 0 ? one : two);
          expect(state).toBe('switched');
          switches += 1;
        }
        stop.abort();
        await reading;
        expect([...seen.builds].sort()).toEqual(['one', 'two']);
        const { rounds, overtaken } = seen;
        await annotate(`${switches} switches, ${rounds} rounds, ${overtaken} of them overtaken`);
      } finally {
        stop.abort();
        await reading.catch(() => undefined);
        await lab.close();
      }
    },
    120_000 + SWITCHES * 1000,
  );
});
