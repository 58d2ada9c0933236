import { Minimatch } from 'minimatch';
import { z } from 'zod';
import { remembered } from './remembered.ts';

/** What may be done with applications, or with the things that belong to none of them. */
export type Access = 'read' | 'write';

/** The name under which permissions speak of what belongs to no application: servers, keypairs, users. */
export const GLOBAL_SCOPE = '_global';

export const AppAccess = z.enum(['read', 'write', 'read/write', '']);
export type AppAccess = z.infer<typeof AppAccess>;

/** Names have at most 128 characters, so a longer glob could not match more of them than a shorter one. */
const MAX_GLOB_LENGTH = 128;
/** They are read with every request. */
const MAX_ENTRIES = 1000;

const PermissionGlob = z
  .string()
  .min(1)
  .max(MAX_GLOB_LENGTH)
  .regex(/^[^/\p{Cc}]*$/u, 'must be a pattern of one name, without `/` and control characters');

const fewEntries = (globs: object): boolean => Object.keys(globs).length <= MAX_ENTRIES;
const TOO_MANY = { error: `must have at most ${MAX_ENTRIES} entries` };

/**
 * What a user may do, as it is stored and sent. Source: API.md, "Jobs, users, tokens".
 * `apps`: application glob → access. `actions`: application glob → action glob → `execute`. `servers`: globs.
 */
export const Permissions = z.object({
  apps: z.record(PermissionGlob, AppAccess).refine(fewEntries, TOO_MANY).default({}),
  actions: z
    .record(
      PermissionGlob,
      z.record(PermissionGlob, z.literal('execute')).refine(fewEntries, TOO_MANY),
    )
    .refine(fewEntries, TOO_MANY)
    .default({}),
  servers: z.array(PermissionGlob).max(MAX_ENTRIES).default([]),
});
export type Permissions = z.infer<typeof Permissions>;

/** The permissions of the user `admin` that the first start makes. */
export const EVERYTHING: Permissions = {
  apps: { '*': 'read/write', [GLOBAL_SCOPE]: 'read/write' },
  actions: { '*': { '*': 'execute' } },
  servers: ['*'],
};

/**
 * Whether an application may be read or written. The longest matching glob decides; of equally long ones that
 * disagree, each takes away what the other does not give. `_global` is matched by its name alone, never by a glob.
 *
 * @param scope an application's name, or `GLOBAL_SCOPE`
 */
export function isAllowed(permissions: Permissions, scope: string, access: Access): boolean {
  const deciding = decidingEntries(permissions.apps, scope);
  return deciding.length > 0 && deciding.every((given) => given.split('/').includes(access));
}

/** Whether a user may change users, servers and all else that belongs to no application. */
export function mayAdminister(permissions: Permissions): boolean {
  return isAllowed(permissions, GLOBAL_SCOPE, 'write');
}

/** All that may be done with an application, or with what belongs to none, in the words of permissions. */
export function accessTo(permissions: Permissions, scope: string): AppAccess {
  const mayRead = isAllowed(permissions, scope, 'read');
  const mayWrite = isAllowed(permissions, scope, 'write');
  if (mayRead && mayWrite) return 'read/write';
  if (mayRead) return 'read';
  return mayWrite ? 'write' : '';
}

/** The globs of the actions of an application that may be executed. Decided as in `isAllowed`. */
export function executableActions(permissions: Permissions, application: string): string[] {
  const [first = {}, ...others] = decidingEntries(permissions.actions, application);
  return Object.keys(first)
    .filter((glob) => others.every((other) => Object.hasOwn(other, glob)))
    .sort();
}

/** The servers of these that may not be deployed to or initialized on: no glob matches their names. */
export function forbiddenServers(permissions: Permissions, names: readonly string[]): string[] {
  const mayTouch = serverMatcher(permissions);
  return names.filter((name) => !mayTouch(name));
}

/** Says of a server's name whether it may be deployed to; made once for many names. */
export function serverMatcher({ servers }: Permissions): (name: string) => boolean {
  const plain = new Set(servers.filter((glob) => !HAS_WILDCARD.test(glob)));
  const globs = servers.flatMap((glob) => (plain.has(glob) ? [] : [compile(glob)]));
  return (name) => plain.has(name) || globs.some((glob) => glob.match(name));
}

/**
 * What the longest of the globs that match a name give; more than one thing only if they are equally long. Of equally
 * long ones the name itself decides alone: it cannot be meant less than `w*` is for `w3`.
 */
function decidingEntries<T>(byGlob: Readonly<Record<string, T>>, name: string): T[] {
  const matching = Object.entries(byGlob).filter(([glob]) => matches(glob, name));
  const longest = Math.max(...matching.map(([glob]) => glob.length));
  const deciding = matching.filter(([glob]) => glob.length === longest);
  const exact = deciding.filter(([glob]) => glob === name);
  return (exact.length > 0 ? exact : deciding).map(([, given]) => given);
}

const HAS_WILDCARD = /[*?[\]{}!\\]/;

function matches(glob: string, name: string): boolean {
  if (name === GLOBAL_SCOPE || glob === GLOBAL_SCOPE) return glob === name;
  if (!HAS_WILDCARD.test(glob)) return glob === name;
  return compile(glob).match(name);
}

/** They are asked again with every request. */
const compile = remembered(
  { max: 1000 },
  (glob) => new Minimatch(glob, { dot: true, nonegate: true, nocomment: true, noext: true }),
);
