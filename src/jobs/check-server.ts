import { AppError } from '../domain/errors.ts';
import type { ServerFacts } from '../domain/server-facts.ts';
import { clockAnswerSchema, clockScript } from '../remote/clock.ts';
import { type InspectAnswer, isGitSupported } from '../remote/inspect.ts';
import { findServersById, recordFacts, type ServerRow } from '../store/servers.ts';
import type { Connection } from '../transport/connection.ts';
import { fingerprintOf } from '../transport/host-key.ts';
import { runOperation } from '../transport/run-operation.ts';
import type { JobDependencies } from './dependencies.ts';
import type { JobHandler } from './handler.ts';
import { observeClones } from './observe-clones.ts';

const ROUND_TRIPS = 5;
const TRIP_TIMEOUT_MS = 20_000;

/** Looks at a server when it is asked for: what it is, whether it can be deployed to, and what runs on it. */
export function checkServerHandler(dependencies: JobDependencies): JobHandler<'check_server'> {
  const { db } = dependencies.database;
  return {
    run: async ({ serverId }, context) => {
      const [server] = await findServersById(db, [serverId]);
      if (server === undefined) return { outcome: 'succeeded', result: { deleted: true } };
      const seen = await observeClones(dependencies, server, context.signal);
      for (const { server: name, hostKey } of seen.pinned) {
        await context.emit('host_key_pinned', { server: name, host_key: hostKey });
      }
      const facts = await findFacts(server, seen, context.signal);
      await recordFacts(db, server.id, facts);
      const pinned = seen.pinned.some(({ server: name }) => name === server.name);
      return {
        outcome: 'succeeded',
        result: {
          server: server.name,
          ...facts,
          host_key_pinned: pinned,
          gitdeploys: seen.clones,
        },
      };
    },
  };
}

async function findFacts(
  server: ServerRow,
  { connection, answer }: { connection: Connection; answer: InspectAnswer },
  signal: AbortSignal,
): Promise<ServerFacts> {
  const trips = await measureTrips(connection, signal);
  const refusal =
    server.connection.kind === 'ssh' && server.connection.become
      ? await findBecomeRefusal(connection, signal)
      : undefined;
  const isSupported = isGitSupported(answer.gitVersion);
  const gitProblem =
    answer.gitVersion === null
      ? 'git is not installed; install git 2.20 or newer.'
      : `git ${answer.gitVersion} is too old; install 2.20 or newer.`;
  return {
    hostname: answer.hostname,
    os: answer.os,
    git_version: answer.gitVersion,
    git_supported: isSupported,
    free_disk_bytes: answer.freeDiskBytes,
    host_key_fingerprint: connection.hostKey === null ? null : fingerprintOf(connection.hostKey),
    clock_skew_ms: trips.skewMs,
    round_trip_ms: trips.medianMs,
    become_works: refusal === undefined ? null : refusal === null,
    problems: [...(isSupported ? [] : [gitProblem]), ...(refusal == null ? [] : [refusal])],
  };
}

/** The median of several trips; the clock by the quickest, as that leaves the least room for doubt. */
async function measureTrips(
  connection: Connection,
  signal: AbortSignal,
): Promise<{ medianMs: number; skewMs: number }> {
  const trips: { tookMs: number; skewMs: number }[] = [];
  while (trips.length < ROUND_TRIPS) {
    const startMs = Date.now();
    const start = performance.now();
    const { epochMs } = await runOperation(connection, clockScript(), clockAnswerSchema, {
      timeoutMs: TRIP_TIMEOUT_MS,
      signal,
    });
    const tookMs = performance.now() - start;
    trips.push({ tookMs, skewMs: epochMs - (startMs + tookMs / 2) });
  }
  trips.sort((a, b) => a.tookMs - b.tookMs);
  const median = trips[Math.floor(trips.length / 2)]?.tookMs ?? 0;
  return { medianMs: Math.round(median * 10) / 10, skewMs: Math.round(trips[0]?.skewMs ?? 0) };
}

/** Why no root is given to who asks for it, or null if it is. */
async function findBecomeRefusal(
  connection: Connection,
  signal: AbortSignal,
): Promise<string | null> {
  try {
    const { userId } = await runOperation(connection, clockScript(), clockAnswerSchema, {
      asRoot: true,
      timeoutMs: TRIP_TIMEOUT_MS,
      signal,
    });
    return userId === 0 ? null : 'sudo gives another user than root; let it give root.';
  } catch (error) {
    if (error instanceof AppError && error.code === 'become_refused') return error.message;
    throw error;
  }
}
