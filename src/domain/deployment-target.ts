import { type Approve, withApprovals } from './approval.ts';
import type { Batch, GroupPlanOptions } from './batches.ts';
import { planGroupBatches, planManualBatches } from './batches.ts';
import { type Canary, planGroupCanary, planManualCanary } from './canary.ts';
import { compareCodeUnits, sortedUnique } from './code-unit-order.ts';
import {
  requireNoPathClash,
  requireOnePackagePerBranch,
  requirePackages,
  requireStoredBuild,
} from './deployment-checks.ts';
import type { DeploymentRequest, DeploymentSnapshot } from './deployment-snapshot.ts';
import { AppError } from './errors.ts';
import type { GroupTarget } from './group-target.ts';
import { resolveGroupTarget } from './group-target.ts';
import type { ManualTarget } from './manual-target.ts';
import { resolveManualTarget } from './manual-target.ts';

export type DeploymentTarget = ManualTarget | GroupTarget;

/**
 * Decides what a deployment deploys to, or why it cannot start. A name that is given twice counts once, and the
 * order of the lists does not matter.
 *
 * A group deployment takes a gitdeploy only if its group has a server in the environments; a group without one
 * is a warning as long as another has some, and its packages are not asked for.
 *
 * @throws {AppError} in this order: `build_not_stored`; `invalid_input` (neither or both styles, an empty list,
 *   or unknown names, all of them in `details.unknown`); `not_initialized` (manual) or `no_servers`, with
 *   `details.missing`, gitdeploy → servers; `package_missing`; `conflicting_packages`; `conflict` (two gitdeploys
 *   would share a folder on a server)
 * Source: API.md, "Deployments".
 */
export function resolveDeploymentTarget(
  request: DeploymentRequest,
  snapshot: DeploymentSnapshot,
): DeploymentTarget {
  requireStoredBuild(snapshot.build);
  const target = resolveStyle(request, snapshot);
  const targeted = new Set(target.gitdeploys);
  const gitdeploys = snapshot.gitdeploys
    .filter(({ name }) => targeted.has(name))
    .sort((a, b) => compareCodeUnits(a.name, b.name));
  requirePackages(gitdeploys, snapshot.build);
  requireOnePackagePerBranch(gitdeploys);
  requireNoPathClash(gitdeploys, (gitdeploy) => serversOf(target, gitdeploy));
  return target;
}

export interface PlanOptions extends Omit<GroupPlanOptions, 'groups'> {
  readonly canary?: Canary | null;
  readonly approve?: Approve;
}

/** The batches of a target, in the order in which they run; divisor and pauses matter to a group target only. */
export function planTarget(target: DeploymentTarget, options: PlanOptions): Batch[] {
  const { canary = null, approve = 'none', ...pauses } = options;
  return withApprovals(planBatches(target, pauses, canary), approve);
}

function planBatches(
  target: DeploymentTarget,
  pauses: Omit<GroupPlanOptions, 'groups'>,
  canary: Canary | null,
): Batch[] {
  if (target.style === 'manual') {
    return canary === null ? planManualBatches(target) : planManualCanary(target, canary);
  }
  const { groups } = target;
  return canary === null
    ? planGroupBatches({ ...pauses, groups })
    : planGroupCanary(groups, pauses, canary);
}

function resolveStyle(request: DeploymentRequest, snapshot: DeploymentSnapshot): DeploymentTarget {
  const { servers, gitdeploys, environments, groups } = request;
  const isManual = servers !== undefined || gitdeploys !== undefined;
  const isGroup = environments !== undefined || groups !== undefined;
  if (isManual && isGroup) {
    throw new AppError(
      'invalid_input',
      'The target mixes two styles; give either `servers` and `gitdeploys`, or `environments` and `groups`.',
    );
  }
  if (servers !== undefined && gitdeploys !== undefined) {
    requireEntries('servers', servers);
    requireEntries('gitdeploys', gitdeploys);
    return resolveManualTarget({ servers, gitdeploys }, snapshot);
  }
  if (environments !== undefined && groups !== undefined) {
    requireEntries('environments', environments);
    requireEntries('groups', groups);
    return resolveGroupTarget({ environments, groups }, snapshot);
  }
  throw new AppError(
    'invalid_input',
    'The target is incomplete; give both `servers` and `gitdeploys`, or both `environments` and `groups`.',
  );
}

function requireEntries(key: keyof DeploymentRequest, names: readonly string[]): void {
  if (names.length > 0) return;
  const isAboutServers = key === 'servers' || key === 'environments';
  throw new AppError(
    isAboutServers ? 'no_servers' : 'invalid_input',
    `\`${key}\` is empty; name at least one.`,
    { details: { empty: key } },
  );
}

function serversOf(target: DeploymentTarget, gitdeploy: string): readonly string[] {
  if (target.style === 'manual') return target.servers;
  return sortedUnique(
    target.groups
      .filter(({ levels }) => levels.some((level) => level.includes(gitdeploy)))
      .flatMap(({ servers }) => servers),
  );
}
