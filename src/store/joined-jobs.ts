import { AppError, toErrorBody } from '../domain/errors.ts';
import type { Db } from './database.ts';
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
 * Records that a worker joins a deployment: the oldest that another worker runs, that has open steps on more than one
 * server, and that it has not joined yet.
 * @returns the id of the job, for this worker to take; null if nobody needs it
 */
export async function insertJoiningJob(db: Db, worker: string): Promise<string | null> {
  const [found] = await db.$queryRaw<{ deploymentId: string; jobId: string }[]>`
    select run.data->>'deploymentId' as "deploymentId", run.id::text as "jobId" from jobs run
     where run.kind = 'run_deployment' and run.status = 'running' and run.lease_expires_at >= now()
       and run.worker <> ${worker} and run.cancel_requested_at is null
       and (select count(*) > 1
              from (select distinct s.server_id from steps s
                     where s.deployment_id = (run.data->>'deploymentId')::uuid
                       and s.status in ('pending', 'running') limit 2) as servers)
       and not exists (select from jobs mine
                        where mine.kind = ${JOINED_JOBS} and mine.status in ('queued', 'running')
                          and mine.worker = ${worker}
                          and mine.data->>'deploymentId' = run.data->>'deploymentId')
     order by run.id limit 1`;
  if (found === undefined) return null;
  const data = { kind: JOINED_JOBS, data: { ...found }, username: 'muster', worker };
  const job = await db.job.create({ data });
  return job.id;
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
