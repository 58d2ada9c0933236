import { AppError } from '../domain/errors.ts';
import { leaseKey } from '../store/leases.ts';
import { findServersById, type ServerRow } from '../store/servers.ts';
import type { Connection } from '../transport/connection.ts';
import { connectServer } from './connect-server.ts';
import type { JobDependencies } from './dependencies.ts';
import { eachLimited } from './each-limited.ts';
import type { JobContext } from './handler.ts';
import { holdLeases, pathLeaseSeconds } from './hold-leases.ts';
import { pause } from './pause.ts';
import { type ServerOutcome, ServerOutcomes } from './server-outcomes.ts';

const SERVERS_AT_ONCE = 50;
const LEASE_RETRY_MS = 1000;
const LEASE_PATIENCE_MS = 60_000;

/** Where something is to be done, with the connection over which to do it. */
export interface OpenServer {
  readonly server: ServerRow;
  readonly connection: Connection;
  readonly signal: AbortSignal;
}

/**
 * Does the same on several servers, many at once, each under the lease of its (server, path). One bad server does
 * not stop the others.
 * @throws {AppError} once all are done, if any failed; see `ServerOutcomes`
 * @returns the outcome of each server by name
 */
export async function onEachServer(
  dependencies: JobDependencies,
  context: JobContext,
  task: {
    /** What is done, as a message begins: `Initializing Web`. */
    readonly what: string;
    readonly serverIds: readonly string[];
    readonly path: string;
    readonly work: (open: OpenServer) => Promise<ServerOutcome>;
  },
): Promise<Record<string, ServerOutcome>> {
  const servers = await findServersById(dependencies.database.db, task.serverIds);
  const outcomes = new ServerOutcomes();
  await eachLimited(servers, SERVERS_AT_ONCE, async (server) => {
    const outcome = await outcomes.record(server.name, () =>
      withLease(dependencies, context, { server, path: task.path }, async (signal) => {
        const { connection, pinned } = await connectServer(dependencies, server, signal);
        for (const { server: name, hostKey } of pinned) {
          await context.emit('host_key_pinned', { server: name, host_key: hostKey });
        }
        return task.work({ server, connection, signal });
      }),
    );
    await context.emit('server', { server: server.name, ...outcome });
  });
  outcomes.throwIfAnyFailed(task.what);
  return outcomes.toObject();
}

async function withLease(
  { config, database }: JobDependencies,
  context: JobContext,
  place: { server: ServerRow; path: string },
  work: (signal: AbortSignal) => Promise<ServerOutcome>,
): Promise<ServerOutcome> {
  const { server, path } = place;
  const deadline = Date.now() + LEASE_PATIENCE_MS;
  for (;;) {
    const request = {
      keys: [leaseKey(server.id, path)],
      holder: `job:${context.jobId}`,
      leaseSeconds: pathLeaseSeconds(config),
      signal: context.signal,
    };
    const done = await holdLeases(database, request, async ({ lost: signal }) => ({
      value: await work(signal),
      keep: false,
    }));
    if (done.held) return done.value;
    context.signal.throwIfAborted();
    if (Date.now() > deadline) {
      throw new AppError(
        'path_busy',
        `${path} on ${server.name} is being worked on by ${done.heldBy}. Try again when that has ended.`,
        { details: { server: server.name, path, held_by: done.heldBy } },
      );
    }
    await pause(LEASE_RETRY_MS, context.signal);
  }
}
