import type { Database } from './database.ts';

/** How much work there is and how it stands. */
export interface WorkCounts {
  readonly jobs: readonly { kind: string; status: string; count: number }[];
  readonly deployments: readonly { status: string; count: number }[];
  readonly steps: readonly { status: string; count: number }[];
  readonly deliveries: readonly { status: string; count: number }[];
  /** Jobs that could be done now and that no worker has. */
  readonly dueJobs: number;
  /** How long the oldest of them has been due; 0 if there is none. */
  readonly oldestDueSeconds: number;
}

/** Beyond this PostgreSQL gives up counting: numbers for a graph are not worth more of its time. */
const STATEMENT_TIMEOUT_MS = 2500;

/** Counts jobs, deployments, steps and deliveries by status, and the jobs that wait, all at one moment. */
export function countWork(database: Database): Promise<WorkCounts> {
  return database.transaction(async (tx) => {
    await tx.$executeRaw`select set_config('statement_timeout', ${String(STATEMENT_TIMEOUT_MS)}, true)`;
    const jobs = await tx.$queryRaw<WorkCounts['jobs']>`
      select kind, status::text, count(*)::int as count from jobs group by 1, 2`;
    const deployments = await tx.$queryRaw<WorkCounts['deployments']>`
      select status::text, count(*)::int as count from deployments group by 1`;
    const steps = await tx.$queryRaw<WorkCounts['steps']>`
      select status::text, count(*)::int as count from steps group by 1`;
    const deliveries = await tx.$queryRaw<WorkCounts['deliveries']>`
      select status::text, count(*)::int as count from webhook_deliveries group by 1`;
    const [due] = await tx.$queryRaw<{ count: number; oldest: number }[]>`
      select count(*)::int as count,
             coalesce(extract(epoch from now() - min(run_at)), 0)::float8 as oldest
        from jobs
       where status in ('queued', 'running') and run_at <= now()
         and (lease_expires_at is null or lease_expires_at < now())`;
    return {
      jobs,
      deployments,
      steps,
      deliveries,
      dueJobs: due?.count ?? 0,
      oldestDueSeconds: due?.oldest ?? 0,
    };
  });
}
