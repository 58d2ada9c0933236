import { AppError, toErrorBody } from '../domain/errors.ts';
import type { Database, Db } from './database.ts';
import { notify } from './events.ts';

/** The kind of the jobs by which workers join a deployment that another one runs. */
export const JOINED_JOBS = 'join_deployment';

/** What is told to all workers when a deployment has work for more than one. */
export const JOIN_TOPIC = 'join';

/** Asks other workers to join. A hint: a deployment that nobody joins is run by one. */
export function inviteWorkers(tx: Db): Promise<void> {
  return notify(tx, JOIN_TOPIC);
}

/**
 * Records that a worker joins a deployment: the oldest that another worker prepares, or has a batch of under way with
 * steps that nobody has taken, on more than one server; and that it has not joined yet.
 * @returns the id of the job, for this worker to take; null if nobody needs it
 */
export function insertJoiningJob(database: Database, worker: string): Promise<string | null> {
  return database.transaction(async (tx) => {
    // Held until this is recorded: whoever ends the deployment ends this job, too.
    const [found] = await tx.$queryRaw<{ deploymentId: string; jobId: string }[]>`
      select run.data->>'deploymentId' as "deploymentId", run.id::text as "jobId"
        from jobs run join deployments d on d.id = (run.data->>'deploymentId')::uuid
       where run.kind = 'run_deployment' and run.status = 'running' and run.lease_expires_at >= now()
         and run.worker <> ${worker} and run.cancel_requested_at is null
         and (select count(*) > 1
                from (select distinct s.server_id from steps s join batches b on b.id = s.batch_id
                       where s.deployment_id = d.id and s.job_id is null and s.status in ('pending', 'running')
                         and (d.status = 'preparing' or b.status = 'running') limit 2) as servers)
         and not exists (select from jobs mine
                          where mine.kind = ${JOINED_JOBS} and mine.status in ('queued', 'running')
                            and mine.worker = ${worker}
                            and mine.data->>'deploymentId' = run.data->>'deploymentId')
       order by run.id limit 1
         for share of run`;
    if (found === undefined) return null;
    const data = { kind: JOINED_JOBS, data: { ...found }, username: 'muster', worker };
    return (await tx.job.create({ data })).id;
  });
}

/**
 * Ends the jobs that have joined a deployment: their workers can write nothing more. Call it before anything else in the
 * transaction: they hold their jobs while they write steps.
 */
export async function endJoinedJobs(tx: Db, deploymentId: string): Promise<void> {
  await tx.$executeRaw`
    update jobs set status = 'cancelled', finished_at = now(), lease_expires_at = null,
           error = ${JSON.stringify(toErrorBody(dismissed()))}::json
     where kind = ${JOINED_JOBS} and status in ('queued', 'running') and data->>'deploymentId' = ${deploymentId}`;
}

/** The jobs that have joined a deployment and are not over. */
export async function listJoinedJobs(db: Db, deploymentId: string): Promise<string[]> {
  const rows = await db.$queryRaw<{ id: string }[]>`
    select id::text from jobs
     where kind = ${JOINED_JOBS} and status in ('queued', 'running') and data->>'deploymentId' = ${deploymentId}`;
  return rows.map(({ id }) => id);
}

const dismissed = (): AppError =>
  new AppError('cancelled', 'The deployment goes on without this worker.');

/** Why the job of a worker that was silent is not gone on with. */
export const lostWorker = (): AppError =>
  new AppError('conflict', 'Its worker was silent for too long; another one has its steps.');
