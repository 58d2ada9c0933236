import { chmod, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { makeTemporaryDirectory } from '../test/support/temporary-directory.ts';
import type { BenchOptions } from './options.ts';

/** What the rows of a group get: options, a place for files, and a way to leave nothing behind. */
export interface Bench {
  readonly options: BenchOptions;
  /** Aborted by Ctrl-C: what is under way ends, and all is cleared up. */
  readonly signal: AbortSignal;
  /** A new folder, which everybody may pass through, as PostgreSQL's account must. It goes at the end. */
  directory(name: string): Promise<string>;
  /** Has something closed at the end, the last one first. */
  onClose(close: () => Promise<unknown>): void;
  /** Tells the person what is being done. */
  say(line: string): void;
  /** Made once, by whoever asks first, for all rows that share it. */
  shared<T>(name: string, make: () => Promise<T>): Promise<T>;
}

export async function openBench(
  options: BenchOptions,
  signal: AbortSignal,
): Promise<Bench & { close(): Promise<void> }> {
  const temporary = await makeTemporaryDirectory();
  await chmod(temporary.path, 0o755);
  const closes: (() => Promise<unknown>)[] = [() => temporary.remove()];
  const known = new Map<string, Promise<unknown>>();
  const start = performance.now();
  let folders = 0;
  const say = (line: string): void => {
    const seconds = ((performance.now() - start) / 1000).toFixed(0).padStart(5);
    process.stderr.write(`${seconds} s  ${line}\n`);
  };
  return {
    options,
    signal,
    say,
    directory: async (name) => {
      folders += 1;
      const path = join(temporary.path, `${folders}-${name}`);
      await mkdir(path, { mode: 0o755 });
      return path;
    },
    onClose: (close) => closes.push(close),
    shared: async <T>(name: string, make: () => Promise<T>): Promise<T> => {
      const promise = known.get(name) ?? make();
      known.set(name, promise);
      // Under one name there is one kind of thing, which its only caller knows.
      return (await promise) as T;
    },
    close: async () => {
      for (let close = closes.pop(); close !== undefined; close = closes.pop()) {
        await close().catch((error: unknown) => say(String(error)));
      }
    },
  };
}
