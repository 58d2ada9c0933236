import { ChangedFiles, DeploymentOptions, RecordedTarget } from '../domain/deployment-options.ts';
import { getOrAdd } from '../domain/get-or-add.ts';
import { remembered } from '../domain/remembered.ts';
import { WaitingFor } from '../domain/waiting-for.ts';
import type { Statements } from './database.ts';
import type { ShownBatch, ShownCommit, ShownPlan, ShownStep } from './deployments.ts';
import { type DeploymentPhase, type DeploymentStatus, Prisma } from './generated/client.ts';
import { isoTime } from './iso-time.ts';
import { fromJson } from './json.ts';

/** A deployment as it is listed. */
export interface ListedDeployment {
  readonly head: ListedHead;
  readonly plan: ShownPlan;
}

/** Its row. What only goes on is text already: a list has thousands of them, mostly alike. */
export interface ListedHead {
  readonly id: string;
  readonly buildName: string;
  readonly username: string;
  readonly reason: string | null;
  readonly status: DeploymentStatus;
  /** JSON of a `RecordedTarget`. */
  readonly target: string;
  /** JSON of `DeploymentOptions`. */
  readonly options: string;
  readonly error: unknown;
  readonly waitingFor: WaitingFor | null;
  readonly supersededById: string | null;
  readonly planHash: string | null;
  /** ISO 8601 in UTC, as all times here. */
  readonly createdAt: string;
  readonly startedAt: string | null;
  readonly finishedAt: string | null;
  readonly pauseRequestedAt: string | null;
  readonly cancelRequestedAt: string | null;
  /** Whether it has batches, as all have that were planned: only those have steps and commits. */
  readonly hasPlan: boolean;
}

/** Deployments of which the rows are read at once, and steps that are held with them: one may have thousands. */
const FIRST_DEPLOYMENTS = 20;
const MORE_DEPLOYMENTS = 500;
const MAX_STEPS = 5000;

/** A page of a list that is read as it is taken. */
export interface DeploymentPage {
  /** Newest first, some at a time. */
  readonly pages: AsyncGenerator<ListedDeployment[]>;
  /** The id after which the next page begins, or null if there is none. Known once all of `pages` were taken. */
  readonly next: () => string | null;
}

/**
 * At most `limit` deployments of an application with their commits, batches and steps, after the one with the id `after`;
 * none if there is no such application.
 */
export function readDeployments(
  database: Statements,
  applicationName: string,
  { limit, after }: { readonly limit: number; readonly after?: string | undefined },
): DeploymentPage {
  let next: string | null = null;
  const read = headReader(database, applicationName);
  const pages = async function* (): AsyncGenerator<ListedDeployment[]> {
    let position = after ?? null;
    for (let left = limit, most = FIRST_DEPLOYMENTS; ; most = MORE_DEPLOYMENTS) {
      const count = Math.min(left, most);
      // One more, which tells whether there is a next page.
      const found = await read({ after: position, limit: count + 1 });
      const heads = found.slice(0, count);
      position = heads.at(-1)?.id ?? null;
      left -= heads.length;
      const isLast = found.length <= count;
      if (left === 0 && !isLast) next = position;
      yield* withPlans(database, heads);
      if (left === 0 || isLast) return;
    }
  };
  return { pages: pages(), next: () => next };
}

type HeadColumns = { -readonly [Key in keyof ListedHead]: ListedHead[Key] };

/** Different texts that are kept of those that are mostly the same from one deployment to the next. */
const ALIKE = { max: MORE_DEPLOYMENTS };

function headReader(
  database: Statements,
  applicationName: string,
): (page: { after: string | null; limit: number }) => Promise<ListedHead[]> {
  const checked = (schema: typeof RecordedTarget | typeof DeploymentOptions) =>
    remembered(ALIKE, (text) => JSON.stringify(fromJson(schema, JSON.parse(text))));
  const target = checked(RecordedTarget);
  const options = checked(DeploymentOptions);
  return async ({ after, limit }) => {
    const older = after === null ? Prisma.empty : Prisma.sql`and d.id < ${after}::uuid`;
    const rows = await database.statement<HeadColumns>(Prisma.sql`
      select d.id, d.build_name as "buildName", d.username, d.reason, d.status, d.target::text, d.options::text, d.error,
             d.waiting_for as "waitingFor", d.superseded_by_id as "supersededById", d.plan_hash as "planHash",
             ${isoTime(Prisma.sql`d.created_at`)} as "createdAt", ${isoTime(Prisma.sql`d.started_at`)} as "startedAt",
             ${isoTime(Prisma.sql`d.finished_at`)} as "finishedAt",
             ${isoTime(Prisma.sql`d.pause_requested_at`)} as "pauseRequestedAt",
             ${isoTime(Prisma.sql`d.cancel_requested_at`)} as "cancelRequestedAt",
             exists (select from batches b where b.deployment_id = d.id) as "hasPlan"
        from deployments d
       where d.application_id = (select id from applications where name = ${applicationName}) ${older}
       order by d.id desc limit ${limit}`);
    // In place: to copy a row takes as long as to read it.
    for (const row of rows) {
      row.target = target(row.target);
      row.options = options(row.options);
      if (row.waitingFor !== null) row.waitingFor = fromJson(WaitingFor, row.waitingFor);
    }
    return rows;
  };
}

const NO_PLAN: ShownPlan = { commits: [], batches: [], rollbackBatches: [] };

/** Some at a time, so that no more than `MAX_STEPS` are held, or those of one deployment that has more. */
async function* withPlans(
  database: Statements,
  heads: readonly ListedHead[],
): AsyncGenerator<ListedDeployment[]> {
  const steps = await countSteps(database, idsOfPlans(heads));
  for (const some of bySteps(heads, steps)) {
    const plans = await readPlans(database, idsOfPlans(some));
    yield some.map((head) => ({ head, plan: plans.get(head.id) ?? NO_PLAN }));
  }
}

function idsOfPlans(heads: readonly ListedHead[]): string[] {
  return heads.flatMap(({ id, hasPlan }) => (hasPlan ? [id] : []));
}

async function countSteps(
  database: Statements,
  ids: readonly string[],
): Promise<ReadonlyMap<string, number>> {
  if (ids.length === 0) return new Map();
  const rows = await database.statement<{ id: string; steps: number }>(Prisma.sql`
    select deployment_id as id, count(*)::int as steps from steps
     where deployment_id = any(${[...ids]}::uuid[]) group by deployment_id`);
  return new Map(rows.map(({ id, steps }) => [id, steps]));
}

/** In order, with at most `MAX_STEPS` together, or one that has more. */
function* bySteps(
  heads: readonly ListedHead[],
  steps: ReadonlyMap<string, number>,
): Generator<ListedHead[]> {
  let some: ListedHead[] = [];
  let held = 0;
  for (const head of heads) {
    const more = steps.get(head.id) ?? 0;
    if (some.length > 0 && held + more > MAX_STEPS) {
      yield some;
      some = [];
      held = 0;
    }
    some.push(head);
    held += more;
  }
  if (some.length > 0) yield some;
}

type CommitColumns = Omit<ShownCommit, 'changedFiles'> & {
  readonly deploymentId: string;
  readonly changedFiles: unknown;
};
type BatchColumns = Omit<ShownBatch, 'steps'> & {
  readonly id: string;
  readonly deploymentId: string;
  readonly phase: DeploymentPhase;
};
type StepColumns = ShownStep & { readonly batchId: string };

/** The plans of some deployments, each in the order in which it runs, or is shown. */
async function readPlans(
  database: Statements,
  ids: readonly string[],
): Promise<ReadonlyMap<string, ShownPlan>> {
  const plans = new Map<string, MutablePlan>();
  if (ids.length === 0) return plans;
  const ofThese = Prisma.sql`deployment_id = any(${[...ids]}::uuid[])`;
  const [commits, batches, steps] = await Promise.all([
    database.statement<CommitColumns>(Prisma.sql`
      select deployment_id as "deploymentId", gitrepo_name as "gitrepoName", branch, commit,
             changed_files as "changedFiles"
        from deployment_commits where ${ofThese} and phase = 'forward' order by gitrepo_name, branch`),
    database.statement<BatchColumns>(Prisma.sql`
      select deployment_id as "deploymentId", phase, id, index, slice, level, ordered,
             pause_after_seconds as "pauseAfterSeconds", canary, approval_after as "approvalAfter", status,
             started_at as "startedAt", finished_at as "finishedAt", approved_by as "approvedBy",
             approved_at as "approvedAt"
        from batches where ${ofThese} order by index`),
    database.statement<StepColumns>(Prisma.sql`
      select batch_id as "batchId", server_name as "serverName", gitdeploy_name as "gitdeployName", status,
             from_commit as "fromCommit", to_commit as "toCommit", attempts, error, log_excerpt as "logExcerpt",
             started_at as "startedAt", finished_at as "finishedAt"
        from steps where ${ofThese} order by server_name, gitdeploy_name`),
  ]);
  const stepsOf = new Map<string, ShownStep[]>();
  for (const step of steps) getOrAdd(stepsOf, step.batchId, () => []).push(step);
  const planOf = (id: string): MutablePlan =>
    getOrAdd(plans, id, () => ({ commits: [], batches: [], rollbackBatches: [] }));
  for (const commit of commits) {
    const changedFiles = fromJson(ChangedFiles, commit.changedFiles);
    planOf(commit.deploymentId).commits.push({ ...commit, changedFiles });
  }
  for (const batch of batches) {
    const plan = planOf(batch.deploymentId);
    const of = batch.phase === 'forward' ? plan.batches : plan.rollbackBatches;
    of.push(Object.assign(batch, { steps: stepsOf.get(batch.id) ?? [] }));
  }
  return plans;
}

interface MutablePlan extends ShownPlan {
  readonly commits: ShownCommit[];
  readonly batches: ShownBatch[];
  readonly rollbackBatches: ShownBatch[];
}
