import { sortedUnique } from '../domain/code-unit-order.ts';
import { AppError } from '../domain/errors.ts';
import { GLOBAL_SCOPE, isAllowed } from '../domain/permissions.ts';
import { lockApplication } from '../store/applications.ts';
import type { Db } from '../store/database.ts';
import { findGitdeploysById } from '../store/gitdeploys.ts';
import { findGitreposById } from '../store/gitrepos.ts';
import {
  deleteNeeds,
  findWorkOn,
  lockNeeds,
  type Needs,
  type NeedsRoot,
  readNeeds,
} from '../store/needs.ts';
import { findServersById, lockJumps } from '../store/servers.ts';
import { recordAudit } from './audit.ts';
import type { AuthenticatedCaller } from './authentication.ts';
import { requireServers } from './authorization.ts';
import type { ServiceContext } from './context.ts';
import { describeGitdeploy, describeGitrepo, describeServer } from './descriptions.ts';
import { refuseInUse } from './lookup.ts';

/** What went with a thing that was deleted: plural noun → names. Of what nothing went there is no key. */
export type Deleted = Readonly<Record<string, readonly string[]>>;

export interface Deletion {
  /** As messages call it, such as `` Gitrepo `web` ``. */
  readonly what: string;
  /** Whether what needs it goes with it. */
  readonly cascade: boolean;
  /** Finds it, or throws `not_found`. Called again when it can no longer change. */
  readonly find: (tx: Db) => Promise<NeedsRoot>;
  /** For a keypair or git provider, which are written down by who deletes them: called just before they go. */
  readonly record?: (tx: Db) => Promise<void>;
}

/** As often as others may change what is to be deleted while it is being looked at. */
const TRIES = 5;

/**
 * Deletes a thing, and with `cascade` all that needs it, and all that needs that: everything in one transaction, or
 * nothing. Clones on servers and repositories at providers stay. One event of the audit for each thing.
 * @returns what went with it
 * @throws {AppError} `not_found`; `in_use` if something needs it and `cascade` is not given, or, in any case, while a
 *   deployment or job works on it or on what would go with it; `forbidden` if the caller may not delete all of that,
 *   or may not touch a server that loses an installation;
 *   `conflict` if others change it all the time
 */
export async function deleteWithNeeds(
  context: ServiceContext,
  caller: AuthenticatedCaller,
  deletion: Deletion,
): Promise<Deleted> {
  for (let tries = 0; tries < TRIES; tries += 1) {
    const needs = await context.database.transaction(async (tx) => {
      const root = await deletion.find(tx);
      const needs = await holdNeeds(tx, root);
      if (needs === null) return null;
      // Gone or made anew while it was waited for.
      if ((await deletion.find(tx)).id !== root.id) return null;
      await refuse(tx, { caller, deletion, root, needs });
      await recordDeletions(tx, caller, needs);
      await deletion.record?.(tx);
      await markGarbage(context, needs);
      await deleteNeeds(tx, root, needs);
      return { ...needs, root };
    });
    if (needs === null) continue;
    await dropHeads(context, needs);
    return withoutRoot(needs.root, needs);
  }
  throw new AppError(
    'conflict',
    `${deletion.what} is being changed by others right now. Nothing was deleted; try again.`,
    { retryable: true },
  );
}

/**
 * Reads what needs a thing and keeps it so until the transaction ends. The locks of applications come first, in one
 * order: planning a deployment and starting to make clones hold them too.
 * @returns null if it has changed between reading and locking
 */
async function holdNeeds(tx: Db, root: NeedsRoot): Promise<Needs | null> {
  const seen = await readNeeds(tx, root);
  for (const id of applicationIds(seen)) await lockApplication(tx, id);
  if (seen.servers.length > 0) await lockJumps(tx);
  await lockNeeds(tx, root, seen);
  const needs = await readNeeds(tx, root);
  return JSON.stringify(needs) === JSON.stringify(seen) ? needs : null;
}

function applicationIds({ gitrepos, gitdeploys, installations }: Needs): string[] {
  return sortedUnique(
    [...gitrepos, ...gitdeploys, ...installations].map(({ applicationId }) => applicationId),
  );
}

async function refuse(
  tx: Db,
  of: { caller: AuthenticatedCaller; deletion: Deletion; root: NeedsRoot; needs: Needs },
): Promise<void> {
  const { caller, deletion, root, needs } = of;
  const { what, cascade } = deletion;
  if (cascade) {
    requireAll(caller, what, needs);
    const under = await findWorkOn(tx, needs);
    refuseInUse(what, under, {
      advice: 'Wait for what is under way, or cancel it; `cascade=true` does not end it.',
    });
    return;
  }
  const under = await findWorkOn(tx, itself(root, needs));
  refuseInUse(
    what,
    { ...under, ...directUses(root, needs) },
    {
      isVisible: (application) =>
        !isGlobal(root) || isAllowed(caller.permissions, application, 'read'),
      advice:
        under.deployments.length + under.jobs.length > 0
          ? 'Wait for what is under way, or cancel it.'
          : ADVICE[root.kind],
    },
  );
}

const REMOVE_FIRST =
  'Remove what needs it first, or give `cascade=true` to have that deleted with it';
/** What to do about what needs a thing: an installation ties a gitdeploy to a server, and neither goes with the other. */
const ADVICE: Readonly<Record<NeedsRoot['kind'], string>> = {
  gitrepo: `${REMOVE_FIRST}.`,
  gitdeploy:
    'Deinitialize it and take it out of its groups first, or give `cascade=true` to have its installations and memberships deleted with it; the servers and groups stay, and so do the clones on the servers.',
  server: `${REMOVE_FIRST}; of the gitdeploys on it only the installations go, and the clones stay.`,
  keypair: `${REMOVE_FIRST}.`,
  gitprovider: `${REMOVE_FIRST}.`,
};

/**
 * Names nothing of applications: what the caller may not see is not told by what they may not delete. Servers that lose
 * installations are named as wherever they may not be touched; those that are deleted themselves are a matter of
 * `_global`.
 */
function requireAll(caller: AuthenticatedCaller, what: string, needs: Needs): void {
  const { permissions, username } = caller;
  const applications = sortedUnique(
    [...needs.gitrepos, ...needs.gitdeploys, ...needs.installations].map((n) => n.application),
  );
  const mayAll =
    applications.every((application) => isAllowed(permissions, application, 'write')) &&
    (needs.servers.length === 0 || isAllowed(permissions, GLOBAL_SCOPE, 'write'));
  if (!mayAll) {
    throw new AppError(
      'forbidden',
      `${what} is needed by things that user \`${username}\` may not delete, so nothing was deleted. Ask an administrator to delete it.`,
    );
  }
  const deleted = new Set(idsOf(needs.servers));
  requireServers(
    caller,
    needs.installations.flatMap((i) => (deleted.has(i.serverId) ? [] : [i.server])),
  );
}

function isGlobal({ kind }: NeedsRoot): boolean {
  return kind !== 'gitrepo' && kind !== 'gitdeploy';
}

function itself(root: NeedsRoot, needs: Needs): Needs {
  const only = <T extends { readonly id: string }>(rows: readonly T[]): readonly T[] =>
    rows.filter(({ id }) => id === root.id);
  return {
    ...needs,
    servers: only(needs.servers),
    gitrepos: only(needs.gitrepos),
    gitdeploys: only(needs.gitdeploys),
  };
}

interface Use {
  readonly application: string | null;
  readonly name: string;
}

/** What needs the thing itself, and not only what needs it. */
function directUses(root: NeedsRoot, needs: Needs): Record<string, readonly Use[]> {
  const { id, kind } = root;
  const named = (n: { application: string; name: string }): Use => ({
    application: n.application,
    name: isGlobal(root) ? `${n.application}/${n.name}` : n.name,
  });
  const plain = (name: string): Use => ({ application: null, name });
  switch (kind) {
    case 'gitrepo':
      return { gitdeploys: needs.gitdeploys.filter((g) => g.gitrepoId === id).map(named) };
    case 'gitdeploy':
      return {
        groups: needs.memberships.map(({ group }) => plain(group)),
        installations: needs.installations.map((i) =>
          named({ application: i.application, name: `${i.gitdeploy}@${i.server}` }),
        ),
      };
    case 'server':
      return {
        servers: needs.servers.filter((s) => s.jumpServerId === id).map((s) => plain(s.name)),
        installations: needs.installations
          .filter((i) => i.serverId === id)
          .map((i) => named({ application: i.application, name: `${i.gitdeploy}@${i.server}` })),
      };
    case 'keypair':
      return {
        servers: needs.servers.filter((s) => s.keypairId === id).map((s) => plain(s.name)),
        gitrepos: needs.gitrepos.map(named),
      };
    case 'gitprovider':
      return { gitrepos: needs.gitrepos.map(named) };
  }
}

/** What the reply lists, each list sorted. What is of one application is named without it. */
function withoutRoot(root: NeedsRoot, needs: Needs): Deleted {
  const inIts = (application: string, name: string): string =>
    isGlobal(root) ? `${application}/${name}` : name;
  const others = <T extends { readonly id: string }>(rows: readonly T[]): readonly T[] =>
    rows.filter(({ id }) => id !== root.id);
  const lists = {
    servers: others(needs.servers).map(({ name }) => name),
    gitrepos: others(needs.gitrepos).map((r) => inIts(r.application, r.name)),
    gitdeploys: others(needs.gitdeploys).map((g) => inIts(g.application, g.name)),
    installations: needs.installations.map((i) =>
      inIts(i.application, `${i.gitdeploy}@${i.server}`),
    ),
    memberships: needs.memberships.map((m) => inIts(m.application, `${m.group}/${m.gitdeploy}`)),
  };
  return Object.fromEntries(
    Object.entries(lists).flatMap(([noun, names]) =>
      names.length === 0 ? [] : [[noun, sortedUnique(names)]],
    ),
  );
}

async function recordDeletions(tx: Db, caller: AuthenticatedCaller, needs: Needs): Promise<void> {
  const { gitdeploys, gitrepos, servers, installations, memberships } = needs;
  const applicationOf = new Map(
    [...gitdeploys, ...gitrepos].map(({ id, application }) => [id, application]),
  );
  for (const row of await findGitdeploysById(tx, idsOf(gitdeploys))) {
    await recordAudit(tx, caller, {
      action: 'gitdeploy.delete',
      application: applicationOf.get(row.id) ?? null,
      subject: row.name,
      before: {
        ...describeGitdeploy(row),
        servers: row.installations.map(({ server }) => server.name),
        groups: sortedUnique(
          memberships.flatMap((m) => (m.gitdeployId === row.id ? [m.group] : [])),
        ),
      },
    });
  }
  for (const row of await findGitreposById(tx, idsOf(gitrepos))) {
    await recordAudit(tx, caller, {
      action: 'gitrepo.delete',
      application: applicationOf.get(row.id) ?? null,
      subject: row.name,
      before: describeGitrepo(row),
    });
  }
  for (const row of await findServersById(tx, idsOf(servers))) {
    await recordAudit(tx, caller, {
      action: 'server.delete',
      application: null,
      subject: row.name,
      before: {
        ...describeServer(row),
        gitdeploys: sortedUnique(
          installations.flatMap((i) =>
            i.serverId === row.id ? [`${i.application}/${i.gitdeploy}`] : [],
          ),
        ),
      },
    });
  }
}

const idsOf = (rows: readonly { readonly id: string }[]): string[] => rows.map(({ id }) => id);

/** Before the rows go, so that upkeep comes by and drops the heads even if this process dies before it can. */
async function markGarbage({ depot, log }: ServiceContext, { gitrepos }: Needs): Promise<void> {
  for (const id of sortedUnique(gitrepos.map(({ applicationId }) => applicationId))) {
    await depot.noteGarbage(id).catch((error: unknown) => {
      log.warn({ err: error }, 'a depot could not be marked for upkeep');
    });
  }
}

/** The rows are gone, so the heads are garbage: a failure here is a matter for the log, and for upkeep. */
async function dropHeads({ depot, log }: ServiceContext, { gitrepos }: Needs): Promise<void> {
  for (const { id, applicationId, name, hasHeads } of gitrepos) {
    // Before its first commit there may be no depot.
    if (!hasHeads) continue;
    await depot.dropHeads(applicationId, id).catch((error: unknown) => {
      log.warn({ gitrepo: name, err: error }, 'the heads of a deleted gitrepo stay until upkeep');
    });
  }
}
