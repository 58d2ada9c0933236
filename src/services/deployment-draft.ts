import type { Batch } from '../domain/batches.ts';
import type { DeploymentOptions, RecordedTarget } from '../domain/deployment-options.ts';
import type { DeploymentRequest, DeploymentSnapshot } from '../domain/deployment-snapshot.ts';
import {
  type DeploymentTarget,
  planTarget,
  resolveDeploymentTarget,
} from '../domain/deployment-target.ts';
import { hashPlan } from '../domain/plan-hash.ts';
import type { ApplicationRow } from '../store/applications.ts';
import type { Db } from '../store/database.ts';
import { listGitdeploys } from '../store/gitdeploys.ts';
import { listGroups } from '../store/groups.ts';
import { listInstallationPairs } from '../store/installations.ts';
import {
  type BranchHead,
  type DeployedPair,
  listBranchHeads,
  listDeployedPairs,
} from '../store/plan-facts.ts';
import { listServerPlaces } from '../store/servers.ts';
import type { AuthenticatedCaller } from './authentication.ts';
import { requireServers, visibleServers } from './authorization.ts';
import { type Build, requireBuild } from './builds.ts';
import type { Gitdeploy } from './gitdeploys.ts';
import { named } from './lookup.ts';
import { type PlanWarning, requireCanaryFor, warningsOf } from './plan-warnings.ts';

export interface NewDeployment {
  readonly buildName: string;
  readonly request: DeploymentRequest;
  readonly options: DeploymentOptions;
  readonly reason: string | null;
  /** The plan that is expected; null: any. */
  readonly planHash: string | null;
}

/** The rows that a plan is made from and the plan itself. */
export interface Draft {
  readonly application: ApplicationRow;
  readonly build: Build;
  /** All of the application. */
  readonly gitdeploys: readonly Gitdeploy[];
  readonly serverIds: ReadonlyMap<string, string>;
  readonly target: DeploymentTarget;
  readonly batches: readonly Batch[];
  /** The branches of the gitrepos that are committed to. */
  readonly heads: readonly BranchHead[];
  /** What the servers of the target have now. */
  readonly deployed: readonly DeployedPair[];
  readonly warnings: readonly PlanWarning[];
  /** As `hashPlan` makes it of all this. */
  readonly planHash: string;
}

/**
 * Plans a deployment.
 * @throws {AppError} `not_found`, what `resolveDeploymentTarget` throws, and `forbidden` for servers that the
 *   caller may not touch
 */
export async function draftDeployment(
  db: Db,
  caller: AuthenticatedCaller,
  application: ApplicationRow,
  input: NewDeployment,
): Promise<Draft> {
  requireServers(caller, input.request.servers ?? []);
  requireCanaryFor(input.options);
  const build = await named('build_name', requireBuild(db, application.id, input.buildName));
  const installations = await listInstallationPairs(db, application.id);
  const servers = await listKnownServers(db, caller, installations);
  const gitdeploys = await listGitdeploys(db, application.id, {});
  const snapshot: DeploymentSnapshot = {
    servers,
    gitdeploys: gitdeploys.map((g) => ({
      name: g.name,
      package: g.packageName,
      gitrepo: g.gitrepo.name,
      branch: g.branch,
      path: g.path,
    })),
    groups: await listGroups(db, application.id, {}),
    installations,
    build: { name: build.name, state: build.state, packages: build.packages.map((p) => p.name) },
  };
  const target = resolveDeploymentTarget(input.request, snapshot);
  requireServers(caller, target.servers);
  const batches = planTarget(target, {
    divisor: input.options.rolling_divisor,
    rollingPauseSeconds: input.options.rolling_pause,
    orderedPauseSeconds: input.options.ordered_pause,
    canary:
      input.options.canary === null
        ? null
        : { size: input.options.canary, pauseSeconds: input.options.canary_pause },
    approve: input.options.approve,
  });
  const targeted = targetedGitdeploys({ target, gitdeploys });
  const heads = await listBranchHeads(db, [...new Set(targeted.map((g) => g.gitrepoId))]);
  const pairs = new Set(batches.flatMap((b) => b.pairs.map((p) => `${p.server} ${p.gitdeploy}`)));
  const nameOf = new Map(targeted.map((g) => [g.id, g.name]));
  const all = await listDeployedPairs(db, [...nameOf.keys()]);
  const deployed = all.filter((d) => pairs.has(`${d.server} ${nameOf.get(d.gitdeployId)}`));
  const draft = { application, build, gitdeploys, target, batches, heads, deployed };
  const environmentOf = new Map(servers.map((s) => [s.name, s.environment]));
  const environments = target.servers.flatMap((server) => environmentOf.get(server) ?? []);
  return {
    ...draft,
    warnings: await warningsOf(db, target, {
      options: input.options,
      environments: [...new Set(environments)],
    }),
    serverIds: new Map(servers.map((s) => [s.name, s.id])),
    planHash: hashDraft(draft, input.options),
  };
}

/** The gitdeploys that are deployed, by name. */
export function targetedGitdeploys({
  target,
  gitdeploys,
}: Pick<Draft, 'target' | 'gitdeploys'>): Gitdeploy[] {
  const names = new Set(target.gitdeploys);
  return gitdeploys.filter(({ name }) => names.has(name));
}

function hashDraft(
  draft: Omit<Draft, 'serverIds' | 'planHash' | 'warnings'>,
  options: DeploymentOptions,
): string {
  const { build, batches, heads, deployed } = draft;
  const targeted = targetedGitdeploys(draft);
  const packages = new Set(targeted.map((g) => g.packageName));
  const branches = new Set(targeted.map((g) => `${g.gitrepoId} ${g.branch}`));
  return hashPlan({
    build: [
      build.id,
      ...build.packages
        .filter(({ name }) => packages.has(name))
        .map(({ name, tree }) => [name, tree]),
    ],
    options,
    batches,
    gitdeploys: targeted.map((g) => [
      g.id,
      g.packageName,
      g.path,
      g.gitrepoId,
      g.branch,
      g.options,
      g.actions,
      g.healthChecks,
      g.switchMode,
    ]),
    commits: heads
      .filter(({ gitrepoId, branch }) => branches.has(`${gitrepoId} ${branch}`))
      .map(({ gitrepoId, branch, headCommit }) => [gitrepoId, branch, headCommit]),
    servers: deployed.map((d) => [d.serverId, d.gitdeployId, d.deployedCommit]),
  });
}

/**
 * The servers that may be spoken of: those that the caller may look at, and those that the application is on. Others,
 * and their environments, are as if they were not there.
 */
async function listKnownServers(
  db: Db,
  caller: AuthenticatedCaller,
  installations: DeploymentSnapshot['installations'],
): Promise<{ id: string; name: string; environment: string }[]> {
  const isVisible = visibleServers(caller);
  const installed = new Set(installations.map(({ server }) => server));
  const places = await listServerPlaces(db);
  return places.filter(({ name }) => isVisible(name) || installed.has(name));
}

/** A target as it is stored. */
export function recorded(target: DeploymentTarget): RecordedTarget {
  return {
    style: target.style,
    environments: target.style === 'group' ? [...target.environments] : [],
    groups: target.style === 'group' ? target.groups.map((g) => g.name) : [],
    servers: [...target.servers],
    gitdeploys: [...target.gitdeploys],
  };
}
