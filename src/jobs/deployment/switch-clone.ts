import { Readable } from 'node:stream';
import type { Config } from '../../config.ts';
import type { Depot } from '../../depot/depot.ts';
import { counted } from '../../domain/counted.ts';
import { AppError } from '../../domain/errors.ts';
import type { SwitchedClone } from '../../domain/step-progress.ts';
import { GO, READY } from '../../remote/await-go.ts';
import { releasesHome } from '../../remote/releases/layout.ts';
import { pruneReleasesAnswerSchema, pruneReleasesScript } from '../../remote/releases/prune.ts';
import { revertReleaseScript } from '../../remote/releases/revert.ts';
import { switchReleaseScript } from '../../remote/releases/switch.ts';
import { revertAnswerSchema, revertScript } from '../../remote/revert.ts';
import {
  type SwitchAnswer,
  type SwitchOptions,
  switchAnswerSchema,
  switchScript,
} from '../../remote/switch.ts';
import type { GitdeployRow } from '../../store/gitdeploys.ts';
import { type Fences, fenceOf } from '../../store/leases.ts';
import type { Connection } from '../../transport/connection.ts';
import { type OperationOptions, runOperation } from '../../transport/run-operation.ts';
import type { Seat } from './barrier.ts';
import { keyOf, type StepWork } from './deployment-work.ts';
import type { RunsOfClone } from './run-actions.ts';
import type { StepLog } from './step-log.ts';
import type { StepTrack } from './step-track.ts';

/** The clone of a step, open for work. */
export interface CloneRun {
  readonly config: Config;
  readonly depot: Depot;
  readonly connection: Connection;
  readonly item: StepWork;
  readonly deploymentId: string;
  readonly fences: Fences;
  /** The commit to bring. */
  readonly commit: string;
  /** A switch is short and is never cut off by a cancel: aborted only if the server may no longer be touched. */
  readonly lost: AbortSignal;
  readonly track: StepTrack;
  readonly log: StepLog;
}

/** The git directory of a clone, as scripts name it. */
export function gitDirOf(
  connection: Connection,
  { path, switchMode }: Pick<GitdeployRow, 'path' | 'switchMode'>,
): string {
  const home = connection.pathOn(path);
  return `${switchMode === 'atomic' ? releasesHome(home) : home}/.git`;
}

/** The runs of a step's states on its server. */
export function runsOf({
  connection,
  item,
  fences,
}: CloneRun): RunsOfClone & { readonly fence: number } {
  const { gitdeploy, server } = item;
  const gitDir = gitDirOf(connection, gitdeploy);
  return { connection, gitDir, fence: fenceOfStep(fences, { gitdeploy, server }) };
}

function fenceOfStep(
  fences: Fences,
  { gitdeploy, server }: Pick<StepWork, 'gitdeploy' | 'server'>,
): number {
  return Number(fenceOf(fences, keyOf({ server, gitdeploy })));
}

/** What switch and revert have in common: which clone, under which lease. */
function cloneOf({ connection, item, fences, deploymentId }: CloneRun): {
  path: string;
  branch: string;
  installationId: string;
  fence: number;
  holder: string;
} {
  const { gitdeploy, installation } = item;
  return {
    path: connection.pathOn(gitdeploy.path),
    branch: gitdeploy.branch,
    installationId: installation.id,
    fence: fenceOfStep(fences, item),
    holder: `deployment ${deploymentId}`,
  };
}

/**
 * Brings a clone to the commit, local changes kept; of an atomic switch, they stay in the release before. Asked again
 * by whoever takes the step up, it answers what the first switch was, as only so it can be taken back.
 * @param seat waits, before the first file changes, for others that are to switch with it
 */
export async function switchClone(clone: CloneRun, seat?: Seat): Promise<SwitchAnswer> {
  const { options, switchMode } = clone.item.gitdeploy;
  const together = seat !== undefined;
  const to = { ...cloneOf(clone), target: clone.commit, step: clone.track.runs, together };
  const script =
    switchMode === 'atomic'
      ? switchReleaseScript(to)
      : switchScript({
          ...to,
          favor: options.favor,
          ignoreWhitespace: options['ignore-whitespace'],
          gitignore: options.gitignore,
          ...knownChanges(clone),
        });
  return await runOperation(clone.connection, script, switchAnswerSchema, {
    timeoutMs: clone.config.stepTimeoutMs,
    signal: clone.lost,
    ...(together && atTheSameTime(seat)),
  });
}

/** Says go to a script that waits for it, once all are ready. */
function atTheSameTime(seat: Seat): Pick<OperationOptions, 'stdin' | 'onOutput'> {
  let said = '';
  return {
    onOutput: ({ stream, text }) => {
      if (stream !== 'stdout') return;
      said += text;
      if (said.includes(`${READY}\n`)) seat.arrive();
    },
    stdin: () => Readable.from(goOnceOpened(seat)),
  };
}

async function* goOnceOpened({ opened }: Seat): AsyncIterable<string> {
  await opened;
  yield `${GO}\n`;
}

/** What the commit brings to a clone that is where Muster left it, if this process knows that anyway. */
function knownChanges({ depot, item, commit, track }: CloneRun): Pick<SwitchOptions, 'changes'> {
  const { applicationId } = item.gitdeploy;
  const parent = track.progress.before.deployedCommit;
  const diff = depot.knownChanges({ applicationId, from: parent, to: commit });
  if (diff === null) return {};
  const { added, modified, deleted } = diff;
  const changedFiles = added.length + modified.length + deleted.length;
  return { changes: { parent, changedFiles, added: added.map(({ path }) => path) } };
}

/** A switch as the step's log tells it. */
export function describeSwitch(answer: SwitchAnswer): string {
  const { state, changedFiles, head, localCommit } = answer;
  const local = localCommit === null ? '' : `, local changes kept in ${localCommit.slice(0, 12)}`;
  const line = `switch: ${state}, ${counted(changedFiles, 'file')} changed, now at ${head.slice(0, 12)}${local}\n`;
  const { previous, modified } = answer.release ?? { previous: null, modified: [] };
  if (modified.length === 0) return line;
  return `${line}switch: ${counted(modified.length, 'file')} changed by hand stay in the release ${previous} and are not in the new one: ${modified.join(', ')}\n`;
}

/** Takes a switch back. */
export async function revertClone(clone: CloneRun, switched: SwitchedClone): Promise<void> {
  const { from, head, localCommit, release } = switched;
  const deployed = clone.track.progress.before.deployedCommit;
  const back = { ...cloneOf(clone), from, head, deployed };
  const script =
    release === undefined
      ? revertScript({ ...back, localCommit })
      : revertReleaseScript({ ...back, previous: release.previous });
  await runOperation(clone.connection, script, revertAnswerSchema, {
    timeoutMs: clone.config.stepTimeoutMs,
    signal: clone.lost,
  });
  clone.log.write(`revert: back at ${from.slice(0, 12)}, because the step did not succeed\n`);
}

/**
 * Removes old releases of an atomic switch, once nothing is to be taken back any more. What comes of it is told in the
 * log alone: the build is there, and the next deployment tries again.
 */
export async function pruneReleases(clone: CloneRun, { release }: SwitchedClone): Promise<void> {
  const keep = clone.item.gitdeploy.keepReleases;
  if (release === undefined || release.count <= keep) return;
  const { path, installationId, fence, holder } = cloneOf(clone);
  const script = pruneReleasesScript({ path, installationId, keep, fence, holder });
  try {
    const answer = await runOperation(clone.connection, script, pruneReleasesAnswerSchema, {
      timeoutMs: clone.config.stepTimeoutMs,
      signal: clone.lost,
    });
    const told = [
      `removed ${counted(answer.removed.length, 'release')}`,
      ...(answer.kept.length === 0
        ? []
        : [`their changes by hand kept as ${answer.kept.join(', ')}`]),
      ...(answer.stuck.length === 0 ? [] : [`could not remove ${answer.stuck.join(', ')}`]),
    ];
    clone.log.write(`prune: ${told.join('; ')}\n`);
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    clone.log.write(`prune: old releases stay for now: ${error.message}\n`);
  }
}
