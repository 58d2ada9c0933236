import { minimatch } from 'minimatch';
import { z } from 'zod';

/** What may be done with applications, or with the things that belong to none of them. */
export type Access = 'read' | 'write';

/** The name under which permissions speak of what belongs to no application: servers, keypairs, users. */
export const GLOBAL_SCOPE = '_global';

const AppAccess = z.enum(['read', 'write', 'read/write', '']);

/**
 * What a user may do, as it is stored and sent. Source: API.md, "Jobs, users, tokens".
 * `apps`: application glob → access. `actions`: application glob → action glob → `execute`. `servers`: globs.
 */
export const Permissions = z.object({
  apps: z.record(z.string(), AppAccess).default({}),
  actions: z.record(z.string(), z.record(z.string(), z.literal('execute'))).default({}),
  servers: z.array(z.string()).default([]),
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
  const matching = Object.entries(permissions.apps).filter(([glob]) => matches(glob, scope));
  const longest = Math.max(...matching.map(([glob]) => glob.length));
  const deciding = matching.filter(([glob]) => glob.length === longest);
  return deciding.length > 0 && deciding.every(([, given]) => given.split('/').includes(access));
}

function matches(glob: string, scope: string): boolean {
  if (scope === GLOBAL_SCOPE || glob === GLOBAL_SCOPE) return glob === scope;
  return minimatch(scope, glob, { dot: true, nonegate: true, nocomment: true, noext: true });
}
