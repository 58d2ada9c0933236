import { bytesBrought } from '../../depot/trees.ts';
import { compareCodeUnits } from '../../domain/code-unit-order.ts';
import { AppError, type ErrorBody, toErrorBody } from '../../domain/errors.ts';
import { getOrAdd } from '../../domain/get-or-add.ts';
import { isGitSupported } from '../../remote/inspect.ts';
import {
  MAX_PREFLIGHT_CLONES,
  type PreflightAnswer,
  preflightAnswerSchema,
  preflightScript,
} from '../../remote/preflight.ts';
import { releasesHome } from '../../remote/releases/layout.ts';
import type { BuildRow } from '../../store/builds.ts';
import type { Connection } from '../../transport/connection.ts';
import { runOperation } from '../../transport/run-operation.ts';
import { connectServer } from '../connect-server.ts';
import type { JobDependencies } from '../dependencies.ts';
import { eachLimited } from '../each-limited.ts';
import { pause } from '../pause.ts';
import type { StepWork } from './deployment-work.ts';

/** A clone that is looked at: what a step has, without the step. */
export type PreflightTarget = Pick<StepWork, 'server' | 'gitdeploy' | 'installation'>;

/** Why a deployment would not go well on a server. */
export interface PreflightProblem {
  readonly server: string;
  /** Null if it concerns the whole server. */
  readonly gitdeploy: string | null;
  readonly error: ErrorBody;
}

/** What passes by itself is looked at this often, with this in between. */
const TRIES = 3;
const RETRY_MS = 1000;
const TIMEOUT_MS = 60_000;
/** New files stand in the clone twice: as objects, and checked out. */
const COPIES = 2;

/**
 * Looks, on all servers at once, whether a build can be deployed to them: connection, git, the clone, its lock, room
 * for what will be written. Changes nothing.
 * @returns what stands in the way, by server
 */
export async function findProblems(
  dependencies: JobDependencies,
  of: {
    readonly targets: readonly PreflightTarget[];
    readonly build: BuildRow;
    readonly concurrency: number;
    readonly signal: AbortSignal;
  },
): Promise<PreflightProblem[]> {
  const byServer = new Map<string, PreflightTarget[]>();
  for (const target of of.targets) getOrAdd(byServer, target.server.id, () => []).push(target);
  const neededBytes = sizeOfChanges(dependencies, of.build);
  const problems: PreflightProblem[] = [];
  await eachLimited(byServer.values(), of.concurrency, async (targets) => {
    for (let attempt = 1; ; attempt += 1) {
      of.signal.throwIfAborted();
      const found = await look(dependencies, targets, { neededBytes, signal: of.signal });
      const mayPass = found.some(({ isPassing }) => isPassing);
      if (!mayPass || attempt === TRIES) {
        problems.push(...found.map(({ isPassing: _, ...problem }) => problem));
        return;
      }
      await pause(RETRY_MS, of.signal);
    }
  });
  return problems.sort((a, b) => compareCodeUnits(a.server, b.server));
}

interface Found extends PreflightProblem {
  /** Whether it may be over in a moment. */
  readonly isPassing: boolean;
}

async function look(
  dependencies: JobDependencies,
  targets: readonly PreflightTarget[],
  o: {
    readonly neededBytes: (target: PreflightTarget) => Promise<number>;
    readonly signal: AbortSignal;
  },
): Promise<Found[]> {
  const [first] = targets;
  if (first === undefined) return [];
  const server = first.server.name;
  try {
    const { connection } = await connectServer(dependencies, first.server, o.signal);
    const found: Found[] = [];
    for (let i = 0; i < targets.length; i += MAX_PREFLIGHT_CLONES) {
      const some = targets.slice(i, i + MAX_PREFLIGHT_CLONES);
      const needed = await Promise.all(some.map(o.neededBytes));
      const answer = await ask(connection, some, { needed, signal: o.signal });
      if (!isGitSupported(answer.gitVersion)) return [toFound(server, null, noGit(server, answer))];
      for (const [at, target] of some.entries()) {
        const error = problemOf(target, answer.clones[at], needed[at] ?? 0);
        if (error !== null) found.push(toFound(server, target.gitdeploy.name, error));
      }
    }
    return found;
  } catch (error) {
    o.signal.throwIfAborted();
    if (!(error instanceof AppError) || error.code === 'service_unavailable') throw error;
    return [toFound(server, null, error)];
  }
}

function ask(
  connection: Connection,
  targets: readonly PreflightTarget[],
  o: { readonly needed: readonly number[]; readonly signal: AbortSignal },
): Promise<PreflightAnswer> {
  const clones = targets.map(({ gitdeploy, installation }, i) => {
    const path = connection.pathOn(gitdeploy.path);
    const home = gitdeploy.switchMode === 'atomic' ? releasesHome(path) : path;
    return { home, installationId: installation.id, neededBytes: o.needed[i] ?? 0 };
  });
  const options = { timeoutMs: TIMEOUT_MS, signal: o.signal };
  return runOperation(connection, preflightScript(clones), preflightAnswerSchema, options);
}

function toFound(server: string, gitdeploy: string | null, error: AppError): Found {
  return { server, gitdeploy, error: toErrorBody(error), isPassing: error.retryable };
}

function noGit(server: string, { gitVersion }: PreflightAnswer): AppError {
  const what = gitVersion === null ? 'git is not installed' : `git ${gitVersion} is too old`;
  return new AppError(
    'server_unsuitable',
    `On server \`${server}\` ${what}; install git 2.20 or newer.`,
    { details: { server, git_version: gitVersion } },
  );
}

function problemOf(
  { server, gitdeploy }: PreflightTarget,
  clone: PreflightAnswer['clones'][number] | undefined,
  neededBytes: number,
): AppError | null {
  const where = `${gitdeploy.path} on server \`${server.name}\``;
  const details = { server: server.name, gitdeploy: gitdeploy.name, path: gitdeploy.path };
  switch (clone?.state) {
    case 'missing':
      return new AppError(
        'clone_missing',
        `There is no clone of this Muster at ${where}; initialize the gitdeploy on this server again.`,
        { details },
      );
    case 'read_only':
      return new AppError(
        'command_failed',
        `The clone at ${where} cannot be written; check the permissions and the disk.`,
        { details },
      );
    case 'locked':
      return new AppError(
        'path_busy',
        `Somebody works at ${where} (${clone.holder ?? 'unknown'}); try again when it has ended.`,
        { details: { ...details, holder: clone.holder }, retryable: true },
      );
    case 'no_space':
      return new AppError(
        'no_space',
        `The disk of ${where} has ${inMebibytes(clone.freeBytes ?? 0)} free, and up to ${inMebibytes(neededBytes)} are to be written; make room there.`,
        { details: { ...details, free_bytes: clone.freeBytes, needed_bytes: neededBytes } },
      );
    case 'ready':
    case undefined:
      return null;
  }
}

const inMebibytes = (bytes: number): string => `${(bytes / 1_048_576).toFixed(1)} MiB`;

/** How much a build brings to a clone at most, by what is there now; compared once for each two trees. */
function sizeOfChanges(
  { depot }: JobDependencies,
  build: BuildRow,
): (target: PreflightTarget) => Promise<number> {
  const known = new Map<string, Promise<number>>();
  return ({ gitdeploy, installation }) => {
    const found = build.packages.find(({ name }) => name === gitdeploy.packageName);
    if (found === undefined) return Promise.resolve(0);
    const from = installation.deployedCommit;
    return getOrAdd(known, `${from} ${found.tree}`, async () => {
      try {
        const { applicationId } = gitdeploy;
        const diff = await depot.diffTrees({ applicationId, from, to: found.tree });
        return bytesBrought(diff) * COPIES;
      } catch (error) {
        // A commit that the depot has lost, as when a backup was restored: then all of it may have to be sent.
        if (!(error instanceof AppError)) throw error;
        return Number(found.sizeBytes) * COPIES;
      }
    });
  };
}
