import { spawnSync } from 'node:child_process';
import { readlink } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { Readable } from 'node:stream';
import {
  type DeinitializeAnswer,
  deinitializeAnswerSchema,
} from '../../../../src/remote/deinitialize.ts';
import {
  type InitializeAnswer,
  initializeAnswerSchema,
} from '../../../../src/remote/initialize.ts';
import {
  type InspectAnswer,
  inspectAnswerSchema,
  inspectScript,
} from '../../../../src/remote/inspect.ts';
import { deinitializeReleasesScript } from '../../../../src/remote/releases/deinitialize.ts';
import { initializeReleasesScript } from '../../../../src/remote/releases/initialize.ts';
import { releasesHome } from '../../../../src/remote/releases/layout.ts';
import {
  prepareReleaseAnswerSchema,
  prepareReleaseScript,
} from '../../../../src/remote/releases/prepare.ts';
import {
  pruneReleasesAnswerSchema,
  pruneReleasesScript,
} from '../../../../src/remote/releases/prune.ts';
import { revertReleaseScript } from '../../../../src/remote/releases/revert.ts';
import { switchReleaseScript } from '../../../../src/remote/releases/switch.ts';
import { revertAnswerSchema } from '../../../../src/remote/revert.ts';
import { stageAnswerSchema, stageScript } from '../../../../src/remote/stage.ts';
import { type SwitchAnswer, switchAnswerSchema } from '../../../../src/remote/switch.ts';
import { runOperation } from '../../../../src/transport/run-operation.ts';
import { BRANCH, type CloneLab, INSTALLATION, makeCloneLab } from '../clone-lab.ts';

const TIMEOUT_MS = 60_000;

/** One path that is switched atomically, and the operations on it with their usual arguments filled in. */
export interface ReleaseLab
  extends Pick<CloneLab, 'connection' | 'upstream' | 'path' | 'root' | 'close'> {
  /** The folder with the repository and the releases. */
  readonly home: string;
  initialize(commit: string, gitignore?: readonly string[]): Promise<InitializeAnswer>;
  /** @returns what the server made of it, without sending any object */
  prepare(want: string, gitignore?: readonly string[]): Promise<'made' | 'ready' | 'need_objects'>;
  stage(want: string, have: string | null): Promise<void>;
  switchTo(target: string, fence?: number, step?: string): Promise<SwitchAnswer>;
  /** The one of the last deployment. */
  fence(): number;
  /** What a deployment does: prepare, stage if need be, switch. */
  deploy(target: string, have: string): Promise<SwitchAnswer>;
  revert(
    switched: SwitchAnswer,
    deployed: string,
  ): Promise<{ state: 'reverted' | 'unchanged'; head: string; kept: string[] }>;
  prune(keep: number): Promise<{ removed: string[]; kept: string[]; stuck: string[] }>;
  inspect(): Promise<InspectAnswer['clones'][number] | undefined>;
  deinitialize(): Promise<DeinitializeAnswer>;
  /** The release that the path shows. */
  shown(): Promise<string>;
}

/** A commit as git stores it. */
function contentOf(directory: string, commit: string): string {
  const done = spawnSync('git', ['-C', directory, 'cat-file', 'commit', commit]);
  if (done.status !== 0) throw new Error(done.stderr.toString());
  return done.stdout.toString('utf8');
}

/** Make a lab with an empty `/opt` on a local server whose scripts run in that shell. */
export async function makeReleaseLab(shell: readonly string[] = ['sh']): Promise<ReleaseLab> {
  const { connection, upstream, path, root, close } = await makeCloneLab(shell);
  const home = releasesHome(path);
  const common = { path, branch: BRANCH, installationId: INSTALLATION };
  const quick = { timeoutMs: TIMEOUT_MS };
  let last = 0;
  const locked = (fence: number): { fence: number; holder: string } => ({
    fence,
    holder: 'deployment 1',
  });
  const lab: ReleaseLab = {
    connection,
    upstream,
    path,
    root,
    home,
    close,
    initialize: (commit, gitignore = []) =>
      runOperation(
        connection,
        initializeReleasesScript({ ...common, commit, gitrepo: 'shop/web', gitignore }),
        initializeAnswerSchema,
        { stdin: () => Readable.from([upstream.pack(commit)]), ...quick },
      ),
    prepare: async (want, gitignore = []) => {
      const content = contentOf(upstream.directory, want);
      const script = prepareReleaseScript({ ...common, want, content, gitignore });
      return (await runOperation(connection, script, prepareReleaseAnswerSchema, quick)).state;
    },
    stage: async (want, have) => {
      await runOperation(
        connection,
        stageScript({ ...common, path: home, want, have }),
        stageAnswerSchema,
        { stdin: () => Readable.from([upstream.pack(want, have)]), ...quick },
      );
    },
    fence: () => last,
    switchTo: (target, fence, step = '-') => {
      last = fence ?? last + 1;
      const script = switchReleaseScript({ ...common, target, step, ...locked(last) });
      return runOperation(connection, script, switchAnswerSchema, quick);
    },
    deploy: async (target, have) => {
      if ((await lab.prepare(target)) === 'need_objects') {
        await lab.stage(target, have);
        await lab.prepare(target);
      }
      return await lab.switchTo(target);
    },
    revert: ({ from, head, release }, deployed) => {
      const previous = release?.previous ?? null;
      const script = revertReleaseScript({
        ...common,
        from,
        head,
        deployed,
        previous,
        ...locked(last),
      });
      return runOperation(connection, script, revertAnswerSchema, quick);
    },
    prune: async (keep) => {
      const { installationId } = common;
      const script = pruneReleasesScript({ path, installationId, keep, ...locked(last) });
      return await runOperation(connection, script, pruneReleasesAnswerSchema, quick);
    },
    inspect: async () => {
      const script = inspectScript({ root: '/', clones: [{ path, branch: BRANCH }] });
      return (await runOperation(connection, script, inspectAnswerSchema, quick)).clones[0];
    },
    deinitialize: () =>
      runOperation(
        connection,
        deinitializeReleasesScript({ path, installationId: INSTALLATION }),
        deinitializeAnswerSchema,
        quick,
      ),
    shown: async () => {
      const target = await readlink(path);
      const name = basename(target);
      if (target !== join(basename(home), 'releases', name))
        throw new Error(`${path} leads to ${target}`);
      return name;
    },
  };
  return lab;
}
