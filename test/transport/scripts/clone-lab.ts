import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { access, mkdir, mkdtemp, readdir, realpath, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { AppError } from '../../../src/domain/errors.ts';
import { GO } from '../../../src/remote/await-go.ts';
import {
  type DeinitializeAnswer,
  deinitializeAnswerSchema,
  deinitializeScript,
} from '../../../src/remote/deinitialize.ts';
import {
  type InitializeAnswer,
  initializeAnswerSchema,
  initializeScript,
} from '../../../src/remote/initialize.ts';
import { type StageAnswer, stageAnswerSchema, stageScript } from '../../../src/remote/stage.ts';
import {
  type SwitchAnswer,
  type SwitchOptions,
  switchAnswerSchema,
  switchScript,
} from '../../../src/remote/switch.ts';
import type { Connection } from '../../../src/transport/connection.ts';
import { connectLocal } from '../../../src/transport/local.ts';
import { runOperation } from '../../../src/transport/run-operation.ts';

export const INSTALLATION = 'installation-1';
export const BRANCH = 'master';
const TIMEOUT_MS = 30_000;

/** A tree as a test writes it: content by path; `{ link }` is a symlink, `{ run }` an executable. */
export type Tree = Readonly<Record<string, string | Buffer | { link: string } | { run: string }>>;

/** A repository where commits and packs are made, as the depot does it. */
export interface Upstream {
  readonly directory: string;
  /** A commit of that tree with that parent; nothing is checked out anywhere. */
  commit(tree: Tree, parent?: string | null): string;
  /** A pack that brings `want` to who has `have`. */
  pack(want: string, have?: string | null): Buffer;
  /** The same as a tar of a pack that rests on nothing else, and then its index. */
  indexedPack(want: string, have?: string | null): Buffer;
}

/** Run git without the configuration of the machine. Throws with git's words. */
function git(directory: string, args: readonly string[], input?: string | Buffer): Buffer {
  const done = spawnSync('git', ['-C', directory, ...args], {
    input: input ?? '',
    maxBuffer: 1 << 28,
    env: {
      PATH: process.env['PATH'],
      HOME: '/dev/null',
      GIT_CONFIG_NOSYSTEM: '1',
      GIT_AUTHOR_NAME: 'Someone',
      GIT_AUTHOR_EMAIL: 'someone@localhost',
      GIT_COMMITTER_NAME: 'Someone',
      GIT_COMMITTER_EMAIL: 'someone@localhost',
    },
  });
  if (done.status !== 0) throw new Error(`git ${args.join(' ')}: ${done.stderr.toString()}`);
  return done.stdout;
}

/** What git prints, without the last line end. */
export function gitLine(directory: string, ...args: string[]): string {
  return git(directory, args).toString('utf8').replace(/\n$/, '');
}

/** Make an upstream in an empty directory. */
export function makeUpstream(directory: string): Upstream {
  git(directory, ['init', '-q', '--bare']);
  const known = new Map<string, string>();
  const write = (content: string | Buffer): string =>
    git(directory, ['hash-object', '-w', '--stdin'], content).toString().trim();
  // Most files of a test's commits are in several of them.
  const hash = (content: string | Buffer): string => {
    if (typeof content !== 'string') return write(content);
    const id = known.get(content) ?? write(content);
    known.set(content, id);
    return id;
  };
  const revisions = (want: string, have: string | null): string =>
    have === null ? `${want}\n` : `${want}\n^${have}\n`;
  let count = 0;
  return {
    directory,
    commit: (tree, parent = null) => {
      const entries = Object.entries(tree).map(([path, content]) => {
        const [mode, body] =
          typeof content === 'string' || Buffer.isBuffer(content)
            ? ['100644', content]
            : 'link' in content
              ? ['120000', content.link]
              : ['100755', content.run];
        return `${mode} ${hash(body)}\t${path}\0`;
      });
      const index = { GIT_INDEX_FILE: join(directory, `index-${count++}`) };
      const run = (args: string[], input = ''): string => {
        const done = spawnSync('git', ['-C', directory, ...args], {
          input,
          env: { PATH: process.env['PATH'], HOME: '/dev/null', ...index },
        });
        if (done.status !== 0) throw new Error(done.stderr.toString());
        return done.stdout.toString().trim();
      };
      run(['update-index', '-z', '--add', '--index-info'], entries.join(''));
      const id = run(['write-tree']);
      const parents = parent === null ? [] : ['-p', parent];
      return git(directory, ['commit-tree', ...parents, '-m', `Build ${count}`, id])
        .toString()
        .trim();
    },
    pack: (want, have = null) =>
      git(
        directory,
        ['pack-objects', '--revs', '--thin', '--stdout', '-q', '--delta-base-offset'],
        revisions(want, have),
      ),
    indexedPack: (want, have = null) => {
      const folder = mkdtempSync(join(directory, 'indexed-'));
      try {
        git(
          directory,
          ['pack-objects', '--revs', '-q', '--delta-base-offset', join(folder, 'pack')],
          revisions(want, have),
        );
        const kinds = ['.pack', '.idx'];
        const files = kinds.flatMap((kind) => readdirSync(folder).filter((f) => f.endsWith(kind)));
        const done = spawnSync('tar', ['-cf', '-', '-C', folder, ...files], { maxBuffer: 1 << 28 });
        if (done.status !== 0) throw new Error(`tar: ${done.stderr.toString()}`);
        return done.stdout;
      } finally {
        rmSync(folder, { recursive: true });
      }
    },
  };
}

/** One clone on one "server", and the operations on it with their usual arguments filled in. */
export interface CloneLab {
  readonly connection: Connection;
  readonly upstream: Upstream;
  /** The clone as scripts and tests on this machine name it. */
  readonly path: string;
  readonly root: string;
  initialize(
    commit: string,
    options?: { gitignore?: string[]; path?: string; installationId?: string },
  ): Promise<InitializeAnswer>;
  stage(want: string, have: string | null, pack?: () => Readable): Promise<StageAnswer>;
  /** Stage with a pack that has its index with it. */
  stageIndexed(want: string, have: string | null, pack?: () => Readable): Promise<StageAnswer>;
  switchTo(target: string, options?: Partial<SwitchOptions>): Promise<SwitchAnswer>;
  /** Stage and switch. */
  deploy(
    target: string,
    have: string | null,
    options?: Partial<SwitchOptions>,
  ): Promise<SwitchAnswer>;
  deinitialize(installationId?: string): Promise<DeinitializeAnswer>;
  close(): Promise<void>;
}

/** Make a lab with an empty `/opt` on a local server whose scripts run in that shell. */
export async function makeCloneLab(shell: readonly string[] = ['sh']): Promise<CloneLab> {
  const directory = await realpath(await mkdtemp(join(tmpdir(), 'muster-clone-')));
  const root = join(directory, 'server');
  await mkdir(join(root, 'opt'), { recursive: true });
  await mkdir(join(directory, 'upstream'));
  const upstream = makeUpstream(join(directory, 'upstream'));
  const connection = await connectLocal({
    name: 'lab',
    root,
    searchPath: process.env['PATH'] ?? '',
    shell,
  });
  const lab = labOn(connection, upstream, '/opt/app');
  return { ...lab, root, close: async () => await rm(directory, { recursive: true, force: true }) };
}

/** The operations on one path of one server. */
export function labOn(
  connection: Connection,
  upstream: Upstream,
  serverPath: string,
): Omit<CloneLab, 'root' | 'close'> {
  const path = connection.pathOn(serverPath);
  const common = { path, branch: BRANCH, installationId: INSTALLATION };
  let fence = 0;
  const run: Omit<CloneLab, 'root' | 'close'> = {
    connection,
    upstream,
    path,
    initialize: async (commit, options = {}) =>
      await runOperation(
        connection,
        initializeScript({ ...common, commit, gitrepo: 'shop/web', gitignore: [], ...options }),
        initializeAnswerSchema,
        { stdin: () => Readable.from([upstream.pack(commit)]), timeoutMs: TIMEOUT_MS },
      ),
    stage: async (want, have, pack) =>
      await runOperation(connection, stageScript({ ...common, want, have }), stageAnswerSchema, {
        stdin: pack ?? (() => Readable.from([upstream.pack(want, have)])),
        timeoutMs: TIMEOUT_MS,
      }),
    stageIndexed: async (want, have, pack) =>
      await runOperation(
        connection,
        stageScript({ ...common, want, have, isIndexed: true }),
        stageAnswerSchema,
        {
          stdin: pack ?? (() => Readable.from([upstream.indexedPack(want, have)])),
          timeoutMs: TIMEOUT_MS,
        },
      ),
    switchTo: async (target, options = {}) => {
      fence += 1;
      return await runOperation(
        connection,
        switchScript({ ...switchDefaults(path, target, fence), ...options }),
        switchAnswerSchema,
        { timeoutMs: TIMEOUT_MS, stdin: () => Readable.from([`${GO}\n`]) },
      );
    },
    deploy: async (target, have, options = {}) => {
      await run.stage(target, have);
      return await run.switchTo(target, options);
    },
    deinitialize: async (installationId = INSTALLATION) =>
      await runOperation(
        connection,
        deinitializeScript({ path, installationId }),
        deinitializeAnswerSchema,
        { timeoutMs: TIMEOUT_MS },
      ),
  };
  return run;
}

/** A switch with the options of a gitdeploy that sets none. */
export function switchDefaults(path: string, target: string, fence: number): SwitchOptions {
  return {
    path,
    branch: BRANCH,
    installationId: INSTALLATION,
    target,
    favor: 'ours',
    ignoreWhitespace: true,
    gitignore: [],
    fence,
    holder: 'deployment 1 of worker 1',
  };
}

/** All that a deployment must leave alone if it fails: HEAD, the index as git shows it, every file with its mode. */
export function snapshot(path: string): string {
  const run = (text: string): string => {
    const done = spawnSync('sh', ['-c', text, 'snapshot', path], { maxBuffer: 1 << 28 });
    if (done.status !== 0) throw new Error(done.stderr.toString());
    return done.stdout.toString('latin1');
  };
  return run(`cd "$1" && git rev-parse HEAD && cat .git/HEAD && git for-each-ref refs/heads && git ls-files -s -u && git ls-files -s && git status --porcelain -uall --ignored &&
    find . -path ./.git -prune -o -printf '%p %m %l %T@ ' -type f -exec sha256sum '{}' ';' -o -path ./.git -prune -o -printf '\\n' | sort`);
}

/** Every shell of this machine that a server might have as sh. */
export async function availableShells(): Promise<(readonly string[])[]> {
  const candidates = [
    ['/bin/dash'],
    ['/bin/bash'],
    ['/bin/busybox', 'sh'],
    ['/usr/bin/busybox', 'sh'],
    [process.env['MUSTER_TEST_BUSYBOX'] ?? '/none', 'sh'],
  ];
  const found: string[][] = [];
  const seen = new Set<string>();
  for (const argv of candidates) {
    const [program = ''] = argv;
    const real = await access(program).then(
      () => realpath(program),
      () => null,
    );
    if (real === null || seen.has(real)) continue;
    seen.add(real);
    found.push(argv);
  }
  return found;
}

/** Start a process that is not waited for; the caller ends it by its pid. */
export function startSleeping(): { pid: number; end: () => void } {
  const child = spawn('sleep', ['60'], { stdio: 'ignore', detached: true });
  if (child.pid === undefined) throw new Error('sleep did not start');
  return { pid: child.pid, end: () => child.kill('SIGKILL') };
}

/** File names that break whatever does not quote. */
export const HOSTILE = {
  'with space': '1\n',
  'quo"te\'s': '2\n',
  'new\nline': '3\n',
  'tab\tand\\backslash': '4\n',
  'ünï/çødé 日本': '5\n',
  '-rf': '6\n',
  ':(top)magic*?[x]': '7\n',
} as const;

/** The error that the promise is rejected with; anything else fails the test. */
export async function failureOf(promise: Promise<unknown>): Promise<AppError> {
  const error: unknown = await promise.then(
    (value) => {
      throw new Error(`expected a failure, got ${JSON.stringify(value)}`);
    },
    (reason: unknown) => reason,
  );
  if (!(error instanceof AppError)) throw error;
  return error;
}

/** What may have arrived of a tar of a pack and its index when the way breaks off. */
export function cutsOf(tar: Buffer) {
  const block = 512;
  const packBytes = Number.parseInt(tar.toString('latin1', 124, 135), 8);
  const indexAt = block + Math.ceil(packBytes / block) * block;
  const indexBytes = Number.parseInt(tar.toString('latin1', indexAt + 124, indexAt + 135), 8);
  const upTo = (end: number): readonly Buffer[] => (end === 0 ? [] : [tar.subarray(0, end)]);
  return {
    nothing: upTo(0),
    'half of the pack': upTo(block + Math.floor(packBytes / 2)),
    'the pack alone': upTo(indexAt),
    'the pack and the name of its index': upTo(indexAt + block),
    'the pack and half of its index': upTo(indexAt + block + Math.floor(indexBytes / 2)),
  } as const;
}

/** Make links in an empty folder to the programs of this machine's PATH that are wanted. */
export async function linkPrograms(
  folder: string,
  isWanted: (name: string) => boolean,
): Promise<void> {
  const seen = new Set<string>();
  for (const directory of (process.env['PATH'] ?? '').split(':')) {
    for (const name of await readdir(directory).catch(() => [])) {
      if (seen.has(name) || !isWanted(name)) continue;
      seen.add(name);
      await symlink(join(directory, name), join(folder, name));
    }
  }
}

/** Input that never ends, for scripts that must not read it. */
export function forever(): Readable {
  return Readable.from(
    (function* (): Generator<Buffer> {
      for (;;) yield Buffer.alloc(65_536);
    })(),
  );
}
