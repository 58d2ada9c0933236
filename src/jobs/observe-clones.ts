import type { Drift } from '../domain/census.ts';
import { AppError, toErrorBody } from '../domain/errors.ts';
import { type Judgement, judgeClone } from '../domain/observation.ts';
import {
  type InspectAnswer,
  inspectAnswerSchema,
  inspectScript,
  MAX_INSPECTED,
} from '../remote/inspect.ts';
import type { Db } from '../store/database.ts';
import { NO_HEAD } from '../store/installations.ts';
import {
  findCommitOrigin,
  listObserved,
  type Observation,
  type ObservedRow,
  recordObservation,
  recordUnseen,
} from '../store/observations.ts';
import { type DriftChange, recordServerNotices } from '../store/server-notices.ts';
import type { ServerRow } from '../store/servers.ts';
import type { Connection } from '../transport/connection.ts';
import { runOperation } from '../transport/run-operation.ts';
import { catchUpServer } from './catch-up-server.ts';
import { connectServer, type PinnedHostKey } from './connect-server.ts';
import type { JobDependencies } from './dependencies.ts';

type SeenClone = InspectAnswer['clones'][number];

/** What was found out about one installation; `busy`: somebody works on it, so it was left alone. */
export interface ClonesSeen {
  readonly application: string;
  readonly gitdeploy: string;
  readonly path: string;
  readonly drift: Drift | 'busy';
}

/** What a look at a server has shown. */
export interface ServerSeen {
  readonly connection: Connection;
  readonly pinned: readonly PinnedHostKey[];
  /** What the server says of itself. */
  readonly answer: InspectAnswer;
  readonly clones: readonly ClonesSeen[];
}

/** Looking must not hold up a worker: git reads the times of all files, and that is all. */
const INSPECT_TIMEOUT_MS = 120_000;
/** A clone's part of the answer has under 1 KiB. */
const MAX_ANSWER_BYTES = 65_536;

/**
 * Looks at what is on a server and records how each installation stands to what Muster left there. Installations
 * that a deployment works on are left alone. If the server cannot be looked at, its installations say so; if it can,
 * and has missed something, it catches up where that is wanted.
 * @throws {AppError} why it cannot be looked at
 */
export async function observeClones(
  dependencies: JobDependencies,
  server: ServerRow,
  signal: AbortSignal,
): Promise<ServerSeen> {
  const { db } = dependencies.database;
  try {
    const { connection, pinned } = await connectServer(dependencies, server, signal);
    // After the connection: waiting for that may take long, and what is read here must not be old.
    const rows = await listObserved(db, server.id);
    const free = rows.filter((row) => !row.isBusy);
    const { answer, seen } = await inspect(connection, free, signal);
    const drifts = await record(dependencies, server, { rows: free, seen, answer });
    const clones = rows.map(({ id, application, gitdeploy, path }) => {
      const drift: ClonesSeen['drift'] = drifts.get(id) ?? 'busy';
      return { application, gitdeploy, path, drift };
    });
    await catchUpServer(dependencies, server.id);
    return { connection, pinned, answer, clones };
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof AppError && error.code !== 'service_unavailable') {
      const body = toErrorBody(error);
      await dependencies.database.transaction(async (tx) => {
        const drift = isUnreachable(error) ? 'unreachable' : 'unknown';
        const changes = await recordUnseen(tx, server.id, drift);
        await recordServerNotices(tx, server.id, { changes, byLook: true, error: body });
      });
    }
    throw error;
  }
}

/** All clones of a server in one command, or as few as they fit into. */
async function inspect(
  connection: Connection,
  rows: readonly ObservedRow[],
  signal: AbortSignal,
): Promise<{ answer: InspectAnswer; seen: ReadonlyMap<string, SeenClone> }> {
  const seen = new Map<string, SeenClone>();
  let start = 0;
  for (;;) {
    const some = rows.slice(start, start + MAX_INSPECTED);
    const script = inspectScript({
      root: connection.pathOn('/'),
      clones: some.map(({ path, branch }) => ({ path: connection.pathOn(path), branch })),
    });
    const answer = await runOperation(connection, script, inspectAnswerSchema, {
      timeoutMs: INSPECT_TIMEOUT_MS,
      maxOutputBytes: MAX_ANSWER_BYTES,
      signal,
    });
    for (const [n, row] of some.entries()) {
      const clone = answer.clones[n];
      if (clone !== undefined) seen.set(row.id, clone);
    }
    start += MAX_INSPECTED;
    if (start >= rows.length) return { answer, seen };
  }
}

/**
 * Writes down what is there now, and what webhooks are to hear of it.
 * @returns how each stands, by its id, without those that somebody has come to work on
 */
async function record(
  { database }: JobDependencies,
  server: ServerRow,
  found: {
    readonly rows: readonly ObservedRow[];
    readonly seen: ReadonlyMap<string, SeenClone>;
    readonly answer: InspectAnswer;
  },
): Promise<ReadonlyMap<string, Drift>> {
  const observations: { row: ObservedRow; seen: Observation }[] = [];
  for (const row of found.rows) {
    const clone = found.seen.get(row.id);
    if (clone === undefined) continue;
    const seen =
      found.answer.gitVersion === null
        ? asBefore(row, 'unknown')
        : await toObservation(
            database.db,
            row,
            judgeClone({ installationId: row.id, ...row }, clone),
          );
    observations.push({ row, seen });
  }
  return database.transaction(async (tx) => {
    const changes: DriftChange[] = [];
    for (const { row, seen } of observations) {
      const change = await recordObservation(tx, row, seen);
      if (change !== null) changes.push(change);
    }
    await recordServerNotices(tx, server.id, { changes, byLook: true });
    return new Map(changes.map(({ id, drift }) => [id, drift]));
  });
}

function asBefore(row: ObservedRow, drift: Drift): Observation {
  const { headCommit, deployedCommit: commit, deployedBuildId: buildId, deploymentId } = row;
  return { drift, head: headCommit === NO_HEAD ? null : headCommit, commit, buildId, deploymentId };
}

/** What is there now, and whose it is. What is still the same is of the build and deployment that the row says. */
async function toObservation(
  db: Db,
  row: ObservedRow,
  { drift, head, base, isKnown }: Judgement,
): Promise<Observation> {
  const commit = base ?? row.deployedCommit;
  const nobodys = { drift, head, commit, buildId: null, deploymentId: null };
  if (!isKnown) return nobodys;
  if (commit === row.deployedCommit && row.deployedBuildId !== null) {
    return { ...asBefore(row, drift), head };
  }
  return { ...nobodys, ...(await findCommitOrigin(db, { ...row, commit })) };
}

function isUnreachable({ code }: AppError): boolean {
  return (
    code === 'server_unreachable' || code === 'server_login_refused' || code === 'host_key_changed'
  );
}
