import { sortedUnique } from '../domain/code-unit-order.ts';
import { AppError } from '../domain/errors.ts';
import {
  type Access,
  type AppAccess,
  accessTo,
  executableActions,
  forbiddenServers,
  GLOBAL_SCOPE,
  isAllowed,
  type Permissions,
  serverMatcher,
} from '../domain/permissions.ts';
import { quoted, quotedList, shortened } from '../domain/quoted.ts';
import type { AuthenticatedCaller } from './authentication.ts';

/**
 * Refuses to touch servers that the caller may not deploy to. All or nothing: to leave some out in silence would
 * make another deployment of it than was asked for.
 * @param names of all servers that will be touched; whether there are servers of these names does not matter
 * @throws {AppError} `forbidden`, naming those that are not allowed
 */
export function requireServers(caller: AuthenticatedCaller, names: readonly string[]): void {
  const forbidden = forbiddenServers(caller.permissions, sortedUnique(names));
  if (forbidden.length === 0) return;
  throw new AppError(
    'forbidden',
    `User \`${caller.username}\` may not touch ${forbidden.length === 1 ? 'server' : 'the servers'} ${quotedList(forbidden)}; leave ${forbidden.length === 1 ? 'it' : 'them'} out, or ask an administrator for the permission.`,
    { details: { servers: forbidden } },
  );
}

/** Says which servers somebody may look at: those that they may deploy to, or all for who may read `_global`. */
export function visibleServers(caller: AuthenticatedCaller): (name: string) => boolean {
  if (isAllowed(caller.permissions, GLOBAL_SCOPE, 'read')) return () => true;
  return serverMatcher(caller.permissions);
}

/**
 * Refuses to show a server that the caller may not look at, whether there is one of that name or not.
 * @throws {AppError} `forbidden`
 */
export function requireVisibleServer(caller: AuthenticatedCaller, name: string): void {
  if (visibleServers(caller)(name)) return;
  throw new AppError(
    'forbidden',
    `User \`${caller.username}\` may not look at server ${quoted(name)}; ask an administrator for the permission.`,
    { details: { servers: [shortened(name)] } },
  );
}

/**
 * Refuses what uses things that belong to no application, such as keypairs, on behalf of who may not see them.
 * @throws {AppError} `forbidden`
 */
export function requireGlobal(caller: AuthenticatedCaller, access: Access): void {
  if (isAllowed(caller.permissions, GLOBAL_SCOPE, access)) return;
  throw new AppError(
    'forbidden',
    `User \`${caller.username}\` may not use keypairs and git providers, which takes the permission to ${access} \`${GLOBAL_SCOPE}\`; leave them out, or ask an administrator.`,
    { details: { scope: GLOBAL_SCOPE, access } },
  );
}

type Granted = Exclude<AppAccess, ''>;

/** What permissions come to, given what there is now. */
export interface EffectivePermissions {
  /** Access to what belongs to no application. */
  readonly global: AppAccess;
  /** Names of applications by access; who may do nothing with an application does not see it here. */
  readonly applications: Readonly<Record<Granted, string[]>>;
  /** Application → globs of its actions that may be executed. */
  readonly actions: Readonly<Record<string, string[]>>;
  /** Names of servers that may be deployed to. */
  readonly servers: string[];
}

/** Works out permissions against the applications and servers that there are. */
export function resolvePermissions(
  permissions: Permissions,
  there: { applications: readonly string[]; servers: readonly string[] },
): EffectivePermissions {
  const applications: Record<Granted, string[]> = { read: [], write: [], 'read/write': [] };
  const actions: [string, string[]][] = [];
  for (const name of there.applications) {
    const access = accessTo(permissions, name);
    if (access !== '') applications[access].push(name);
    const executable = executableActions(permissions, name);
    if (executable.length > 0) actions.push([name, executable]);
  }
  const forbidden = new Set(forbiddenServers(permissions, there.servers));
  return {
    global: accessTo(permissions, GLOBAL_SCOPE),
    applications,
    // From pairs, so that an application named `constructor` is a key like any other.
    actions: Object.fromEntries(actions),
    servers: there.servers.filter((name) => !forbidden.has(name)),
  };
}
