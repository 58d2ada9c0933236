import { assertObjectId, type GitFileMode, type GitSurroundings, startGit } from './git.ts';

/** Writes trees into a repository through one `git fast-import`. One call at a time, each awaited. */
export interface FastImport {
  /** Begins a tree; it ends with the next one or with `finish`. @param ref will point to a commit of the tree */
  beginTree(ref: string): Promise<void>;
  /** Adds a file from its bytes. A file at the same path is replaced. @param content must yield exactly `sizeBytes` */
  addFile(o: {
    readonly path: string;
    readonly mode: GitFileMode;
    readonly sizeBytes: number;
    readonly content: AsyncIterable<Buffer> | Iterable<Buffer>;
  }): Promise<void>;
  /** Adds a file from a blob that the repository has. */
  addBlob(o: {
    readonly path: string;
    readonly mode: string;
    readonly blob: string;
  }): Promise<void>;
  /** Adds a file with content and mode of another one of this tree. */
  copyFile(from: string, to: string): Promise<void>;
  /** Makes everything permanent. @throws {AppError} `storage_failed`, and then no ref has been made */
  finish(): Promise<void>;
  /** Ends git if it still runs, and waits for its end. For `finally`. */
  close(): Promise<void>;
}

/**
 * Starts a fast-import. `--depth=0` and light compression: content that comes compressed from an archive is rarely worth
 * deltas, and it makes an upload 2.5 times as fast (measured: DESIGN.md decision 3).
 */
export function openFastImport(
  git: GitSurroundings,
  o: {
    readonly gitDir: string;
    readonly signal?: AbortSignal | undefined;
    readonly timeoutMs: number;
  },
): FastImport {
  const child = startGit(git, {
    gitDir: o.gitDir,
    // The unpack limit is zero so that everything new is in a pack, which can be moved as a whole.
    config: ['pack.compression=1', 'fastimport.unpackLimit=0'],
    args: ['fast-import', '--quiet', '--done', '--depth=0'],
    signal: o.signal,
    timeoutMs: o.timeoutMs,
  });
  const { stdin } = child;
  child.stdout.resume();

  let hasEnded = false;
  let wake: (() => void) | null = null;
  const wakeWriter = (): void => {
    wake?.();
    wake = null;
  };
  stdin.on('drain', wakeWriter);
  const onEnd = (): void => {
    hasEnded = true;
    wakeWriter();
  };
  child.exited.then(onEnd, onEnd);

  async function write(data: string | Buffer): Promise<void> {
    if (!hasEnded && stdin.write(data)) return;
    // One waiter, not a race against `exited`: a race would leave a listener behind for every chunk of a build.
    if (!hasEnded) {
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
    if (hasEnded) {
      await child.exited;
      throw new Error('fast-import ended before its input');
    }
  }

  return {
    async beginTree(ref) {
      // A fixed author and date: equal trees give equal commits, which are then stored once.
      await write(`commit ${ref}\ncommitter Muster <muster@localhost> 0 +0000\ndata 0\n`);
    },
    async addFile({ path, mode, sizeBytes, content }) {
      await write(`M ${mode} inline ${quotePath(path)}\ndata ${sizeBytes}\n`);
      let missing = sizeBytes;
      for await (const chunk of content) {
        missing -= chunk.length;
        // More or fewer bytes would be read as commands.
        if (missing < 0) break;
        await write(chunk);
      }
      if (missing !== 0) throw new Error(`content of ${path} is not ${sizeBytes} bytes long`);
      await write('\n');
    },
    async addBlob({ path, mode, blob }) {
      await write(`M ${mode} ${assertObjectId(blob)} ${quotePath(path)}\n`);
    },
    async copyFile(from, to) {
      await write(`C ${quotePath(from)} ${quotePath(to)}\n`);
    },
    async finish() {
      await write('done\n');
      stdin.end();
      await child.exited;
    },
    async close() {
      child.kill();
      await child.exited.catch(() => {});
    },
  };
}

/** A path in fast-import's C style; the only bytes with a meaning are these three. Source: git-fast-import(1). */
function quotePath(path: string): string {
  const escaped = path.replace(/["\\\n]/g, (character) =>
    character === '\n' ? '\\n' : `\\${character}`,
  );
  return `"${escaped}"`;
}
