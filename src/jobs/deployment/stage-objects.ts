import { createReadStream } from 'node:fs';
import type { PackForm } from '../../depot/packs.ts';
import { AppError } from '../../domain/errors.ts';
import { releasesHome } from '../../remote/releases/layout.ts';
import { prepareReleaseAnswerSchema, prepareReleaseScript } from '../../remote/releases/prepare.ts';
import { type StageAnswer, stageAnswerSchema, stageScript } from '../../remote/stage.ts';
import type { Connection } from '../../transport/connection.ts';
import { runOperation } from '../../transport/run-operation.ts';
import { connectServer } from '../connect-server.ts';
import type { JobDependencies } from '../dependencies.ts';
import { eachLimited } from '../each-limited.ts';
import type { JobContext } from '../handler.ts';
import type { PhaseWork, StepWork } from './deployment-work.ts';

/** A commit whose message is longer than this comes in a pack like any other object; a command must stay short. */
const MAX_CONTENT_CHARACTERS = 8192;

/** What is brought to which clone. */
interface StageTarget {
  readonly work: StepWork;
  readonly want: string;
  readonly signal: AbortSignal;
}

/** Makes a clone ready for its switch: all objects are there, and for an atomic switch the release is checked out. */
export async function stageObjects(
  dependencies: JobDependencies,
  connection: Connection,
  to: StageTarget,
): Promise<void> {
  const path = connection.pathOn(to.work.gitdeploy.path);
  if (to.work.gitdeploy.switchMode === 'in_place') {
    await sendPack(dependencies, connection, { ...to, path });
    return;
  }
  if (await prepareRelease(dependencies, connection, to)) return;
  await sendPack(dependencies, connection, { ...to, path: releasesHome(path) });
  if (await prepareRelease(dependencies, connection, to)) return;
  throw new AppError(
    'clone_damaged',
    `Objects that commit ${to.want} needs do not stay in ${releasesHome(path)}; initialize it again.`,
  );
}

/** Has the release checked out. @returns false if objects are missing for that */
async function prepareRelease(
  { config, depot }: JobDependencies,
  connection: Connection,
  { work: { gitdeploy, installation }, want, signal }: StageTarget,
): Promise<boolean> {
  const content = await depot.contentOf(gitdeploy.applicationId, want);
  const script = prepareReleaseScript({
    path: connection.pathOn(gitdeploy.path),
    branch: gitdeploy.branch,
    installationId: installation.id,
    want,
    content: content.length > MAX_CONTENT_CHARACTERS ? '' : content,
    gitignore: gitdeploy.options.gitignore,
  });
  const { state } = await runOperation(connection, script, prepareReleaseAnswerSchema, {
    timeoutMs: config.stepTimeoutMs,
    signal,
  });
  return state !== 'need_objects';
}

/** Sends to a clone the objects it lacks for `want`, as one pack of what is not in the commit that it has. */
async function sendPack(
  { config, depot }: JobDependencies,
  connection: Connection,
  to: StageTarget & { path: string },
): Promise<void> {
  const { want, signal } = to;
  const { gitdeploy, installation } = to.work;
  const { applicationId, branch } = gitdeploy;
  const send = async (have: string | null, form: PackForm): Promise<StageAnswer['state']> => {
    const pack = await depot.preparePack({ applicationId, want, have, form, signal });
    try {
      const script = stageScript({
        path: to.path,
        branch,
        installationId: installation.id,
        want,
        have,
        isIndexed: form !== 'thin',
      });
      const { state } = await runOperation(connection, script, stageAnswerSchema, {
        stdin: () => createReadStream(pack.path),
        timeoutMs: config.stepTimeoutMs,
        signal,
      });
      return state;
    } finally {
      await pack.release();
    }
  };
  const sendBest = async (have: string | null): Promise<StageAnswer['state']> => {
    const { isNear } = connection;
    const form = await depot.choosePackForm({ applicationId, want, have, isNear });
    const state = await send(have, form);
    return state === 'need_thin' ? await send(have, 'thin') : state;
  };
  if ((await sendBest(installation.deployedCommit)) !== 'need_full') return;
  await sendBest(null);
}

/**
 * Sends the objects to all servers before the first batch, so that a batch only has to switch. Packs are the same
 * for all clones that have the same commit, and are made once.
 * @returns the steps whose clone could not be reached now; they try again when their turn comes
 */
export async function stageAhead(
  dependencies: JobDependencies,
  context: JobContext,
  stage: {
    work: PhaseWork;
    steps: readonly StepWork[];
    wantOf: (step: StepWork) => string;
    signal: AbortSignal;
  },
): Promise<ReadonlySet<string>> {
  const missed = new Set<string>();
  const isStopped = (): boolean => stage.signal.aborted;
  await eachLimited(stage.steps, stage.work.options.concurrency, async (step) => {
    if (isStopped()) return;
    try {
      const access = await connectServer(dependencies, step.server, stage.signal);
      await stageObjects(dependencies, access.connection, {
        work: step,
        want: stage.wantOf(step),
        signal: stage.signal,
      });
    } catch (error) {
      missed.add(step.step.id);
      // Who was told to stop reports so itself; the others in flight must come to their end first.
      if (isStopped()) return;
      if (!(error instanceof AppError)) throw error;
      context.log.info(
        { server: step.server.name, gitdeploy: step.gitdeploy.name, err: error },
        'objects could not be staged ahead',
      );
    }
  });
  return missed;
}
