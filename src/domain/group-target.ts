import type { TargetGroup } from './batches.ts';
import { compareCodeUnits, sortedUnique } from './code-unit-order.ts';
import type { DeploymentSnapshot, SnapshotInstallation } from './deployment-snapshot.ts';
import { AppError } from './errors.ts';
import { getOrAdd } from './get-or-add.ts';
import { groupMembers } from './group-members.ts';
import { quotedList } from './quoted.ts';
import { requireKnown } from './unknown-names.ts';

/** Something the operator should know, though the deployment may start. */
export interface TargetWarning {
  readonly code: 'group_without_servers' | 'environment_without_servers' | 'incomplete_servers';
  readonly message: string;
  /** The name of the group, or of the environment, in question. */
  readonly subject: string;
  /** With `incomplete_servers`: gitdeploy → the servers that lack it. */
  readonly missing?: Readonly<Record<string, readonly string[]>>;
}

/** Every group's gitdeploys go to that group's servers in the environments. */
export interface GroupTarget {
  readonly style: 'group';
  /** As asked for, sorted. */
  readonly environments: readonly string[];
  /** As asked for, sorted by name, with their servers in the environments, which may be none. */
  readonly groups: readonly TargetGroup[];
  /** Sorted; never empty, and each has at least one pair. */
  readonly servers: readonly string[];
  /** Sorted; never empty, and each has at least one pair. */
  readonly gitdeploys: readonly string[];
  readonly warnings: readonly TargetWarning[];
}

/**
 * The servers and gitdeploys of groups in environments. An environment is known if a server has it.
 *
 * A group without a server there, and an environment without a server of these groups, are warnings; so are
 * servers that have some but not all gitdeploys of a group, as they are easily taken for its members.
 *
 * @throws {AppError} `invalid_input` for unknown names; `no_servers` if no group has a server there, with
 *   `details.missing` telling, gitdeploy → servers, what nearly-members lack
 */
export function resolveGroupTarget(
  asked: { readonly environments: readonly string[]; readonly groups: readonly string[] },
  snapshot: DeploymentSnapshot,
): GroupTarget {
  requireKnown({
    environments: {
      asked: asked.environments,
      known: snapshot.servers.map(({ environment }) => environment),
    },
    groups: { asked: asked.groups, known: snapshot.groups.map(({ name }) => name) },
  });
  const environments = sortedUnique(asked.environments);
  const groups = findMembers({ environments, groups: asked.groups }, snapshot);
  const filled = groups.flatMap(({ target }) => (target.servers.length > 0 ? [target] : []));
  const servers = sortedUnique(filled.flatMap((group) => group.servers));
  if (servers.length === 0) throw noServers(environments, groups);
  return {
    style: 'group',
    environments,
    groups: groups.map(({ target }) => target),
    servers,
    gitdeploys: sortedUnique(filled.flatMap(({ levels }) => levels.flat())),
    warnings: [
      ...groups.flatMap((group) => warningsOfGroup(group, environments)),
      ...warningsOfEnvironments(environments, { servers, snapshot }),
    ],
  };
}

interface GroupWithMembers {
  readonly target: TargetGroup;
  /** gitdeploy → servers that have another gitdeploy of the group, but not this one. */
  readonly missing: ReadonlyMap<string, readonly string[]>;
}

function findMembers(
  asked: { readonly environments: readonly string[]; readonly groups: readonly string[] },
  snapshot: DeploymentSnapshot,
): GroupWithMembers[] {
  const environments = new Set(asked.environments);
  const names = new Set(asked.groups);
  const reachable = new Set(
    snapshot.servers.flatMap((server) =>
      environments.has(server.environment) ? [server.name] : [],
    ),
  );
  const installations = snapshot.installations.filter(({ server }) => reachable.has(server));
  const serversOf = serversByGitdeploy(installations);
  const chosen = snapshot.groups
    .filter(({ name }) => names.has(name))
    .sort((a, b) => compareCodeUnits(a.name, b.name))
    .map((group) => ({ ...group, gitdeploys: sortedUnique(group.levels.flat()) }));
  const members = groupMembers(chosen, installations);
  return chosen.map(({ name, rolling, levels, gitdeploys }) => ({
    target: { name, rolling, servers: members.get(name) ?? [], levels },
    missing: findMissing(gitdeploys, serversOf),
  }));
}

/** Members lack nothing and so never show up here. */
function findMissing(
  gitdeploys: readonly string[],
  serversOf: ReadonlyMap<string, ReadonlySet<string>>,
): Map<string, string[]> {
  const touched = sortedUnique(gitdeploys.flatMap((name) => [...(serversOf.get(name) ?? [])]));
  const missing = new Map<string, string[]>();
  for (const gitdeploy of gitdeploys) {
    const having = serversOf.get(gitdeploy);
    const lacking = touched.filter((server) => having?.has(server) !== true);
    if (lacking.length > 0) missing.set(gitdeploy, lacking);
  }
  return missing;
}

function serversByGitdeploy(
  installations: readonly SnapshotInstallation[],
): Map<string, Set<string>> {
  const serversOf = new Map<string, Set<string>>();
  for (const { server, gitdeploy } of installations) {
    getOrAdd(serversOf, gitdeploy, () => new Set()).add(server);
  }
  return serversOf;
}

function noServers(environments: readonly string[], groups: readonly GroupWithMembers[]): AppError {
  const lacking = new Map<string, string[]>();
  for (const { missing } of groups) {
    for (const [gitdeploy, servers] of missing) {
      lacking.set(gitdeploy, sortedUnique([...(lacking.get(gitdeploy) ?? []), ...servers]));
    }
  }
  const names = groups.map(({ target }) => target.name);
  return new AppError(
    'no_servers',
    `No server in ${quotedList(environments)} has all gitdeploys of ${quotedList(names)} initialized; initialize them there, or choose other groups or environments.`,
    { details: { environments, groups: names, missing: Object.fromEntries(lacking) } },
  );
}

function warningsOfGroup(
  { target, missing }: GroupWithMembers,
  environments: readonly string[],
): TargetWarning[] {
  const warnings: TargetWarning[] = [];
  if (target.servers.length === 0) {
    warnings.push({
      code: 'group_without_servers',
      subject: target.name,
      message: `The group \`${target.name}\` has no server in ${quotedList(environments)}; nothing of it is deployed.`,
    });
  }
  if (missing.size > 0) {
    const servers = sortedUnique([...missing.values()].flat());
    warnings.push({
      code: 'incomplete_servers',
      subject: target.name,
      message: `Some but not all gitdeploys of the group \`${target.name}\` are initialized on ${quotedList(servers)}, so the group is not deployed there.`,
      missing: Object.fromEntries(missing),
    });
  }
  return warnings;
}

function warningsOfEnvironments(
  environments: readonly string[],
  found: { readonly servers: readonly string[]; readonly snapshot: DeploymentSnapshot },
): TargetWarning[] {
  const targeted = new Set(found.servers);
  const used = new Set(
    found.snapshot.servers.flatMap(({ name, environment }) =>
      targeted.has(name) ? [environment] : [],
    ),
  );
  return environments
    .filter((environment) => !used.has(environment))
    .map((environment) => ({
      code: 'environment_without_servers',
      subject: environment,
      message: `The environment \`${environment}\` has no server of these groups; nothing is deployed there.`,
    }));
}
