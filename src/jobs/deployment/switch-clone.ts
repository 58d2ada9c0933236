import type { Config } from '../../config.ts';
import { revertAnswerSchema, revertScript } from '../../remote/revert.ts';
import { type SwitchAnswer, switchAnswerSchema, switchScript } from '../../remote/switch.ts';
import { type Fences, fenceOf, leaseKey } from '../../store/leases.ts';
import type { Connection } from '../../transport/connection.ts';
import { runOperation } from '../../transport/run-operation.ts';
import type { StepWork } from './deployment-work.ts';
import type { StepLog } from './step-log.ts';

/** The clone of a step, open for work. */
export interface CloneRun {
  readonly config: Config;
  readonly connection: Connection;
  readonly item: StepWork;
  readonly deploymentId: string;
  readonly fences: Fences;
  /** The commit to bring. */
  readonly commit: string;
  /** A switch is short and is never cut off by a cancel: aborted only if the server may no longer be touched. */
  readonly lost: AbortSignal;
  readonly log: StepLog;
}

/** What switch and revert have in common: which clone, under which lease. */
function cloneOf({ connection, item, fences, deploymentId }: CloneRun): {
  path: string;
  branch: string;
  installationId: string;
  fence: number;
  holder: string;
} {
  const { gitdeploy, installation, server } = item;
  return {
    path: connection.pathOn(gitdeploy.path),
    branch: gitdeploy.branch,
    installationId: installation.id,
    fence: Number(fenceOf(fences, leaseKey(server.id, gitdeploy.path))),
    holder: `deployment ${deploymentId}`,
  };
}

/** Brings a clone to the commit, local changes kept. */
export async function switchClone(clone: CloneRun): Promise<SwitchAnswer> {
  const { options } = clone.item.gitdeploy;
  const script = switchScript({
    ...cloneOf(clone),
    target: clone.commit,
    favor: options.favor,
    ignoreWhitespace: options['ignore-whitespace'],
    gitignore: options.gitignore,
  });
  const answer = await runOperation(clone.connection, script, switchAnswerSchema, {
    timeoutMs: clone.config.stepTimeoutMs,
    signal: clone.lost,
  });
  clone.log.write(
    `switch: ${answer.state}, ${answer.changedFiles} files changed, now at ${answer.head.slice(0, 12)}` +
      `${answer.localCommit === null ? '' : `, local changes kept in ${answer.localCommit.slice(0, 12)}`}\n`,
  );
  return answer;
}

/** Takes a switch back. */
export async function revertClone(clone: CloneRun, switched: SwitchAnswer): Promise<void> {
  const { from, head, localCommit } = switched;
  const script = revertScript({
    ...cloneOf(clone),
    from,
    head,
    localCommit,
    deployed: clone.item.installation.deployedCommit,
  });
  await runOperation(clone.connection, script, revertAnswerSchema, {
    timeoutMs: clone.config.stepTimeoutMs,
    signal: clone.lost,
  });
  clone.log.write(`revert: back at ${from.slice(0, 12)}, because postpull did not succeed\n`);
}
