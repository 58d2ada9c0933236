import { EMPTY_TREE } from '../depot/git.ts';
import type { Batch } from '../domain/batches.ts';
import { summarizeChanges } from '../domain/changed-files.ts';
import type {
  ChangedFiles,
  DeploymentOptions,
  RecordedTarget,
} from '../domain/deployment-options.ts';
import { getOrAdd } from '../domain/get-or-add.ts';
import { requireSamePlan } from '../domain/plan-hash.ts';
import type { DeployedPair } from '../store/plan-facts.ts';
import type { AuthenticatedCaller } from './authentication.ts';
import type { ServiceContext } from './context.ts';
import {
  type Draft,
  draftDeployment,
  type NewDeployment,
  recorded,
  targetedGitdeploys,
} from './deployment-draft.ts';
import type { Gitdeploy } from './gitdeploys.ts';
import { type Job, recordJob, ringJob } from './jobs.ts';
import { requireApplication } from './lookup.ts';
import type { PlanWarning } from './plan-warnings.ts';

/** Servers that have the same commit of a gitdeploy now, and what the deployment would change on them. */
export interface PresentServers {
  /** The build that is there; null if Muster does not know it. */
  readonly fromBuild: string | null;
  readonly fromCommit: string;
  readonly servers: readonly string[];
  /** Whether they have these files already. */
  readonly isUpToDate: boolean;
  /** Those of `servers` whose files are not as Muster left them. */
  readonly drifted: readonly string[];
  readonly changes: ChangedFiles;
}

/** A gitdeploy that is not deployed, but whose gitrepo branch gets a commit all the same. */
export interface CommittedElsewhere {
  readonly gitdeploy: string;
  readonly gitrepo: string;
  readonly branch: string;
  /** The build that is committed there now, and that it will count as behind of. */
  readonly fromBuild: string | null;
}

/** What a deployment would do. */
export interface DeploymentPlan {
  readonly application: string;
  readonly build: string;
  readonly target: RecordedTarget;
  readonly options: DeploymentOptions;
  readonly batches: readonly Batch[];
  readonly warnings: readonly PlanWarning[];
  /** By gitdeploy: how the files of its gitrepo branch would change. */
  readonly changes: Readonly<Record<string, ChangedFiles>>;
  /** By gitdeploy: what its servers have now. */
  readonly servers: Readonly<Record<string, readonly PresentServers[]>>;
  readonly committedElsewhere: readonly CommittedElsewhere[];
  /** As `hashPlan` makes it. */
  readonly planHash: string;
  readonly ids: PlannedIds;
}

/** What a plan is about, for who goes on with it. */
interface PlannedIds {
  readonly applicationId: string;
  readonly buildId: string;
  readonly targets: readonly { readonly gitdeployId: string; readonly serverIds: string[] }[];
}

/**
 * Plans a deployment and writes nothing.
 * @throws {AppError} what `draftDeployment` throws; `plan_changed` if it is not the plan that was expected
 */
export async function planDeployment(
  context: ServiceContext,
  caller: AuthenticatedCaller,
  applicationName: string,
  input: NewDeployment,
): Promise<DeploymentPlan> {
  const { db } = context.database;
  const application = await requireApplication(db, applicationName);
  const draft = await draftDeployment(db, caller, application, input);
  if (input.planHash !== null) requireSamePlan(input.planHash, draft.planHash);
  const compare = treeComparer(context, application.id);
  return {
    application: application.name,
    build: draft.build.name,
    target: recorded(draft.target),
    options: input.options,
    batches: draft.batches,
    warnings: draft.warnings,
    changes: await foreseeChanges(draft, compare),
    servers: await foreseeServers(draft, compare),
    committedElsewhere: foreseeCommits(draft),
    planHash: draft.planHash,
    ids: idsOf(draft),
  };
}

/**
 * Starts a job that looks whether the servers of a plan can take its build, as every deployment does before it changes
 * anything.
 */
export async function startPreflight(
  context: ServiceContext,
  caller: AuthenticatedCaller,
  { ids, options }: DeploymentPlan,
): Promise<Job> {
  const { applicationId, buildId, targets } = ids;
  const { concurrency } = options;
  const job = await context.database.transaction((tx) =>
    recordJob(tx, caller, {
      kind: 'preflight',
      data: { buildId, concurrency, targets: [...targets] },
      applicationId,
    }),
  );
  return ringJob(context, job);
}

function idsOf({ application, build, batches, serverIds, gitdeploys }: Draft): PlannedIds {
  const gitdeployIds = new Map(gitdeploys.map(({ name, id }) => [name, id]));
  const servers = new Map<string, string[]>();
  for (const { server, gitdeploy } of batches.flatMap(({ pairs }) => pairs)) {
    const gitdeployId = gitdeployIds.get(gitdeploy);
    const serverId = serverIds.get(server);
    if (gitdeployId === undefined || serverId === undefined) continue;
    getOrAdd(servers, gitdeployId, () => []).push(serverId);
  }
  const targets = [...servers].map(([gitdeployId, ids]) => ({ gitdeployId, serverIds: ids }));
  return { applicationId: application.id, buildId: build.id, targets };
}

type Compare = (from: string, to: string) => Promise<ChangedFiles>;

/** Compares trees or commits of an application, each two once. */
function treeComparer({ depot }: ServiceContext, applicationId: string): Compare {
  const known = new Map<string, Promise<ChangedFiles>>();
  return (from, to) =>
    getOrAdd(known, `${from} ${to}`, async () => {
      if (from === to) return summarizeChanges({ added: [], modified: [], deleted: [] });
      return summarizeChanges(await depot.diffTrees({ applicationId, from, to }));
    });
}

/** The gitdeploys with the trees that they get. */
function newTrees(draft: Draft): { gitdeploy: Gitdeploy; tree: string }[] {
  return targetedGitdeploys(draft).flatMap((gitdeploy) => {
    const found = draft.build.packages.find((p) => p.name === gitdeploy.packageName);
    return found === undefined ? [] : [{ gitdeploy, tree: found.tree }];
  });
}

async function foreseeChanges(
  draft: Draft,
  compare: Compare,
): Promise<Record<string, ChangedFiles>> {
  const changes: [string, ChangedFiles][] = [];
  for (const { gitdeploy, tree } of newTrees(draft)) {
    const head = draft.heads.find(
      (h) => h.gitrepoId === gitdeploy.gitrepoId && h.branch === gitdeploy.branch,
    );
    changes.push([gitdeploy.name, await compare(head?.headTree ?? EMPTY_TREE, tree)]);
  }
  return Object.fromEntries(changes);
}

async function foreseeServers(
  draft: Draft,
  compare: Compare,
): Promise<Record<string, PresentServers[]>> {
  const servers: [string, PresentServers[]][] = [];
  for (const { gitdeploy, tree } of newTrees(draft)) {
    const byCommit = new Map<string, DeployedPair[]>();
    for (const pair of draft.deployed) {
      if (pair.gitdeployId !== gitdeploy.id) continue;
      getOrAdd(byCommit, pair.deployedCommit, () => []).push(pair);
    }
    const present: PresentServers[] = [];
    for (const [fromCommit, pairs] of byCommit) {
      const changes = await compare(fromCommit, tree);
      present.push({
        fromBuild: pairs[0]?.deployedBuild ?? null,
        fromCommit,
        servers: pairs.map(({ server }) => server),
        isUpToDate: changes.added + changes.modified + changes.deleted === 0,
        drifted: pairs
          .filter(({ drift }) => drift === 'modified' || drift === 'moved')
          .map(({ server }) => server),
        changes,
      });
    }
    servers.push([gitdeploy.name, present]);
  }
  return Object.fromEntries(servers);
}

function foreseeCommits(draft: Draft): CommittedElsewhere[] {
  const moved = new Map(
    newTrees(draft).map(({ gitdeploy, tree }) => [
      `${gitdeploy.gitrepoId} ${gitdeploy.branch}`,
      tree,
    ]),
  );
  const targeted = new Set(draft.target.gitdeploys);
  return draft.gitdeploys.flatMap(({ name, gitrepoId, gitrepo, branch }) => {
    const tree = moved.get(`${gitrepoId} ${branch}`);
    const head = draft.heads.find((h) => h.gitrepoId === gitrepoId && h.branch === branch);
    if (tree === undefined || targeted.has(name) || head?.headTree === tree) return [];
    return [
      { gitdeploy: name, gitrepo: gitrepo.name, branch, fromBuild: head?.committedBuild ?? null },
    ];
  });
}
