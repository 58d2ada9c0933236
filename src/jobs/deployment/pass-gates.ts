import { isDeepStrictEqual } from 'node:util';
import { closedGate, longestFreeze } from '../../domain/gates.ts';
import type { WaitingFor } from '../../domain/waiting-for.ts';
import type { Db } from '../../store/database.ts';
import type { BatchRow, DeploymentHead } from '../../store/deployments.ts';
import { findFreezeWindows } from '../../store/freeze-windows.ts';
import { noteWaiting, readGateState } from '../../store/gates.ts';
import type { JobDependencies } from '../dependencies.ts';
import type { JobContext } from '../handler.ts';
import { pause } from '../pause.ts';
import type { BatchWork, PhaseWork } from './deployment-work.ts';

/** A pause that is longer than this is not waited for in the worker: others can use its place. */
const PARK_OVER_MS = 3000;

/** Why a batch may not begin, or null if it may. */
export type GateEnd =
  | { readonly end: 'cancelled' | 'interrupted' | 'paused' | 'superseded' }
  | { readonly end: 'waiting'; readonly waitingFor: WaitingFor }
  | null;

/** Waits, as long as that is short, until the next batch may begin. A rollback waits for nothing. */
export async function passGates(
  dependencies: JobDependencies,
  context: JobContext,
  at: {
    readonly work: PhaseWork;
    readonly previous: BatchRow | null;
    readonly next: BatchWork;
    readonly signal: AbortSignal;
  },
): Promise<GateEnd> {
  const { work, previous, next, signal } = at;
  if (work.phase === 'rollback') return null;
  const { db } = dependencies.database;
  const { id } = work.deployment;
  for (;;) {
    signal.throwIfAborted();
    const state = await readGateState(db, id, previous?.id ?? null);
    if (state === null) return null;
    if (state.isSuperseded) return { end: 'superseded' };
    if (state.isPauseRequested) return { end: 'paused' };
    const environments = next.steps.map(({ server }) => server.environment);
    const closed = closedGate({
      previous:
        previous === null
          ? null
          : {
              ...previous,
              finishedAt: previous.finishedAt ?? new Date(),
              approvedAt: state.approvedAt,
            },
      freezeWindows: state.isFreezeOverridden
        ? []
        : await findFreezeWindows(db, [...new Set(environments)]),
      now: new Date(),
    });
    if (closed === null) {
      if (state.waitingFor !== null) await context.transaction((tx) => noteWaiting(tx, id, null));
      return null;
    }
    await tellWaiting(context, { id, waitingFor: state.waitingFor }, closed);
    const remainingMs =
      closed.kind === 'pause' ? Date.parse(closed.until) - Date.now() : Number.POSITIVE_INFINITY;
    if (remainingMs > PARK_OVER_MS) return { end: 'waiting', waitingFor: closed };
    await pause(remainingMs, context.draining, signal);
    if (context.cancelled.aborted) return { end: 'cancelled' };
    if (context.draining.aborted) return { end: 'interrupted' };
  }
}

/** The freeze that holds a deployment back which has not begun. */
export async function freezeBefore(db: Db, work: PhaseWork): Promise<WaitingFor | null> {
  if (work.options.override_freeze) return null;
  const environments = work.batches[0]?.steps.map(({ server }) => server.environment) ?? [];
  return longestFreeze(await findFreezeWindows(db, [...new Set(environments)]), new Date());
}

/** Says what a deployment waits for, in its row and, once, in its stream. */
export async function tellWaiting(
  context: JobContext,
  deployment: Pick<DeploymentHead, 'id' | 'waitingFor'>,
  waitingFor: WaitingFor,
): Promise<void> {
  if (isDeepStrictEqual(deployment.waitingFor, waitingFor)) return;
  await context.record('waiting', waitingFor, (tx) => noteWaiting(tx, deployment.id, waitingFor));
}
