import { DeploymentOptions, RecordedTarget } from '../domain/deployment-options.ts';
import { getOrAdd } from '../domain/get-or-add.ts';
import { remembered } from '../domain/remembered.ts';
import { WaitingFor } from '../domain/waiting-for.ts';
import type { Database, Db, Statements } from './database.ts';
import {
  BATCHES,
  COMMIT_ORDER,
  type DeploymentHead,
  type DeploymentRow,
  toDeploymentRow,
} from './deployments.ts';
import { Prisma } from './generated/client.ts';
import { fromJson } from './json.ts';

/** The ids of a page of an application's deployments, newest first, and one more if there is one. */
export function listDeploymentIds(
  db: Db,
  applicationId: string,
  page: { limit: number; after?: string | undefined },
): Promise<{ id: string }[]> {
  return readIds(db, applicationId, { after: page.after ?? null, limit: page.limit + 1 });
}

/** Ids of one page: little at first, so that whoever waits has something soon. */
const FIRST_IDS = 200;
const MORE_IDS = 5000;

/**
 * The ids of all deployments of an application, newest first, after (older than) the one with the id `after`; page by
 * page as they are taken, each page as the rows are then.
 */
export async function* readDeploymentIds(
  db: Db,
  applicationId: string,
  after: string | undefined,
): AsyncGenerator<string[]> {
  let position = after ?? null;
  for (let limit = FIRST_IDS; ; limit = MORE_IDS) {
    const rows = await readIds(db, applicationId, { after: position, limit });
    if (rows.length > 0) yield rows.map(({ id }) => id);
    position = rows.at(-1)?.id ?? null;
    if (rows.length < limit) return;
  }
}

function readIds(
  db: Db,
  applicationId: string,
  { after, limit }: { after: string | null; limit: number },
): Promise<{ id: string }[]> {
  // In two statements, as one that covers both cases would look at all rows for either. `id` alone would be the text that
  // is selected, which no index has.
  if (after === null) {
    return db.$queryRaw`
      select id::text from deployments where application_id = ${applicationId}::uuid
       order by deployments.id desc limit ${limit}`;
  }
  return db.$queryRaw`
    select id::text from deployments where application_id = ${applicationId}::uuid and id < ${after}::uuid
     order by deployments.id desc limit ${limit}`;
}

/** Deployments of which the rows are read at once, and steps that are held with them: one may have thousands. */
const FIRST_DEPLOYMENTS = 20;
const MORE_DEPLOYMENTS = 250;
const MAX_STEPS = 5000;

/**
 * Deployments with their commits, batches and steps, in the order of `ids`, some at a time as they are taken. Those
 * that are gone by now are left out.
 */
export async function* readDeployments(
  database: Pick<Database, 'db' | 'statement'>,
  ids: readonly string[],
): AsyncGenerator<DeploymentRow[]> {
  for (let start = 0, count = FIRST_DEPLOYMENTS; start < ids.length; ) {
    const heads = await readHeads(database, ids.slice(start, start + count));
    for (const some of bySteps(heads)) yield await withPlans(database.db, some);
    start += count;
    count = MORE_DEPLOYMENTS;
  }
}

interface ListedHead {
  readonly head: DeploymentHead;
  /** Whether there is anything of it in other tables. */
  readonly hasPlan: boolean;
  readonly steps: number;
}

type HeadColumns = Omit<DeploymentHead, 'target' | 'options'> & {
  readonly target: string;
  readonly options: string;
  readonly hasPlan: boolean;
  readonly steps: number;
};

/** Different texts among the deployments that are read at once, at most. */
const ALIKE = { max: MORE_DEPLOYMENTS };

/** In SQL of its own, as these are many rows of many columns. */
async function readHeads(database: Statements, ids: readonly string[]): Promise<ListedHead[]> {
  const rows = await database.statement<HeadColumns>(Prisma.sql`
    select d.id::text, d.application_id::text as "applicationId", d.build_id::text as "buildId",
           d.build_name as "buildName", d.username, d.reason, d.status::text, d.target::text, d.options::text, d.error,
           d.pause_requested_at as "pauseRequestedAt", d.cancel_requested_at as "cancelRequestedAt",
           d.plan_hash as "planHash", d.waiting_for as "waitingFor", d.superseded_by_id::text as "supersededById",
           d.created_at as "createdAt", d.started_at as "startedAt", d.finished_at as "finishedAt",
           exists (select from batches b where b.deployment_id = d.id)
             or exists (select from deployment_commits c where c.deployment_id = d.id) as "hasPlan",
           (select count(*)::int from steps s where s.deployment_id = d.id) as "steps"
      from deployments d where d.id = any(${[...ids]}::uuid[])`);
  // What was asked for is mostly the same from one deployment to the next.
  const target = remembered(ALIKE, (text) => fromJson(RecordedTarget, JSON.parse(text)));
  const options = remembered(ALIKE, (text) => fromJson(DeploymentOptions, JSON.parse(text)));
  const found = new Map<string, ListedHead>();
  for (const row of rows) {
    // One by one: to copy what is left of a row takes ten times as long as to read it.
    const head: DeploymentHead = {
      id: row.id,
      applicationId: row.applicationId,
      buildId: row.buildId,
      buildName: row.buildName,
      username: row.username,
      reason: row.reason,
      status: row.status,
      target: target(row.target),
      options: options(row.options),
      error: row.error,
      pauseRequestedAt: row.pauseRequestedAt,
      cancelRequestedAt: row.cancelRequestedAt,
      planHash: row.planHash,
      waitingFor: row.waitingFor === null ? null : fromJson(WaitingFor, row.waitingFor),
      supersededById: row.supersededById,
      createdAt: row.createdAt,
      startedAt: row.startedAt,
      finishedAt: row.finishedAt,
    };
    found.set(row.id, { head, hasPlan: row.hasPlan, steps: row.steps });
  }
  return ids.flatMap((id) => found.get(id) ?? []);
}

/** In order, with at most `MAX_STEPS` together, or one that has more. */
function* bySteps(heads: readonly ListedHead[]): Generator<ListedHead[]> {
  let some: ListedHead[] = [];
  let steps = 0;
  for (const one of heads) {
    if (some.length > 0 && steps + one.steps > MAX_STEPS) {
      yield some;
      some = [];
      steps = 0;
    }
    some.push(one);
    steps += one.steps;
  }
  if (some.length > 0) yield some;
}

async function withPlans(db: Db, listed: readonly ListedHead[]): Promise<DeploymentRow[]> {
  const planned = listed.flatMap(({ head, hasPlan }) => (hasPlan ? [head.id] : []));
  const where = { deploymentId: { in: planned } };
  const [commits, batches] =
    planned.length === 0
      ? [[], []]
      : await Promise.all([
          db.deploymentCommit.findMany({ where, orderBy: [...COMMIT_ORDER] }),
          db.batch.findMany({ where, ...BATCHES }),
        ]);
  const commitsOf = byDeployment(commits);
  const batchesOf = byDeployment(batches);
  return listed.map(({ head }) =>
    toDeploymentRow(head, commitsOf.get(head.id) ?? [], batchesOf.get(head.id) ?? []),
  );
}

function byDeployment<Row extends { readonly deploymentId: string }>(
  rows: readonly Row[],
): Map<string, Row[]> {
  const rowsOf = new Map<string, Row[]>();
  for (const row of rows) getOrAdd(rowsOf, row.deploymentId, () => []).push(row);
  return rowsOf;
}
