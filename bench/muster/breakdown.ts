import { z } from 'zod';
import type { BenchMuster } from './muster.ts';

/** Where the time of one deployment went, in milliseconds, by phase and in order. */
export type Breakdown = ReadonlyMap<string, number>;

const eventData = z.object({ status: z.string().optional() }).loose();

/**
 * Reads from a deployment's events when it got to which phase. The clock is that of PostgreSQL, which is that of this
 * machine, too.
 * @param tookMs from the request to the reply; what no event tells of is bookkeeping
 */
export async function readBreakdown(
  muster: BenchMuster,
  deploymentId: string,
  tookMs: number,
): Promise<Breakdown> {
  const events = await muster.sql<{ kind: string; data: unknown; created_at: Date }>(
    `select kind, data, created_at from events where deployment_id = $1 order by id`,
    [deploymentId],
  );
  const at = (kind: string, status?: string): number | null => {
    const found = events.findLast(
      (event) =>
        event.kind === kind &&
        (status === undefined || eventData.parse(event.data).status === status),
    );
    return found?.created_at.getTime() ?? null;
  };
  const marks: readonly [string, number | null][] = [
    ['plan and take up (request → preparing)', at('deployment', 'preparing')],
    ['connect and look (preflight)', at('preflight')],
    ['commit', at('commit')],
    ['stage: pack, send, index', at('deployment', 'running')],
    ['switch (batches)', at('batch', 'succeeded')],
    ['end', at('deployment', 'succeeded')],
  ];
  const breakdown = new Map<string, number>();
  let last = at('deployment', 'queued');
  let told = 0;
  for (const [phase, mark] of marks) {
    if (mark === null || last === null) continue;
    breakdown.set(phase, mark - last);
    told += mark - last;
    last = mark;
  }
  breakdown.set('bookkeeping around it (request, reply)', tookMs - told);
  return breakdown;
}

/** The window in which servers of a deployment's batches were between builds, in milliseconds, by its rows. */
export async function readBatchMs(muster: BenchMuster, deploymentId: string): Promise<number> {
  const [row] = await muster.sql<{ ms: number }>(
    `select (extract(epoch from max(finished_at) - min(started_at)) * 1000)::float8 as ms
       from batches where deployment_id = $1 and phase = 'forward'`,
    [deploymentId],
  );
  if (row === undefined) throw new Error(`Deployment ${deploymentId} has no batches.`);
  return row.ms;
}
