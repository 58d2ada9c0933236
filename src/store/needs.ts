import type { Db } from './database.ts';

/** What a deletion begins with. */
export interface NeedsRoot {
  readonly kind: 'gitrepo' | 'gitdeploy' | 'server' | 'keypair' | 'gitprovider';
  readonly id: string;
}

interface OfApplication {
  readonly id: string;
  readonly name: string;
  readonly applicationId: string;
  readonly application: string;
}

export interface NeedingGitrepo extends OfApplication {
  readonly keypairId: string | null;
  readonly gitproviderId: string | null;
  /** Whether it may have heads in the depot. */
  readonly hasHeads: boolean;
}
export interface NeedingGitdeploy extends OfApplication {
  readonly gitrepoId: string;
}
export interface NeedingServer {
  readonly id: string;
  readonly name: string;
  readonly keypairId: string | null;
  readonly jumpServerId: string | null;
}
/** A gitdeploy that is initialized on a server: the tie between the two. */
export interface InstallationTie {
  readonly id: string;
  readonly gitdeployId: string;
  readonly gitdeploy: string;
  readonly serverId: string;
  readonly server: string;
  readonly applicationId: string;
  readonly application: string;
}
/** A gitdeploy that a group names. */
export interface MembershipTie {
  readonly gitdeployId: string;
  readonly gitdeploy: string;
  readonly groupId: string;
  readonly group: string;
  readonly application: string;
}

/**
 * A thing with all that needs it, and all that needs that, and so on: what cannot be without it. The thing itself is
 * among them, save for a keypair or git provider. Everything is in the order of ids, so that two readings can be compared.
 */
export interface Needs {
  readonly servers: readonly NeedingServer[];
  readonly gitrepos: readonly NeedingGitrepo[];
  readonly gitdeploys: readonly NeedingGitdeploy[];
  readonly installations: readonly InstallationTie[];
  readonly memberships: readonly MembershipTie[];
}

export async function readNeeds(db: Db, root: NeedsRoot): Promise<Needs> {
  const servers = await readServers(db, root);
  const gitrepos = await readGitrepos(db, root);
  const gitdeploys = await readGitdeploys(db, root, gitrepos);
  const gitdeployIds = gitdeploys.map(({ id }) => id);
  const serverIds = servers.map(({ id }) => id);
  const installations = await db.$queryRaw<InstallationTie[]>`
    select i.id::text as "id", i.gitdeploy_id::text as "gitdeployId", g.name as "gitdeploy",
           i.server_id::text as "serverId", s.name as "server",
           a.id::text as "applicationId", a.name as "application"
      from installations i
      join gitdeploys g on g.id = i.gitdeploy_id
      join servers s on s.id = i.server_id
      join applications a on a.id = g.application_id
     where i.gitdeploy_id = any(${gitdeployIds}::uuid[]) or i.server_id = any(${serverIds}::uuid[])
     order by i.id`;
  const memberships = await db.$queryRaw<MembershipTie[]>`
    select m.gitdeploy_id::text as "gitdeployId", g.name as "gitdeploy", m.group_id::text as "groupId",
           o.name as "group", a.name as "application"
      from group_gitdeploys m
      join gitdeploys g on g.id = m.gitdeploy_id
      join groups o on o.id = m.group_id
      join applications a on a.id = g.application_id
     where m.gitdeploy_id = any(${gitdeployIds}::uuid[])
     order by m.group_id, m.gitdeploy_id`;
  return { servers, gitrepos, gitdeploys, installations, memberships };
}

/** Servers that log in with the keypair, or the server itself, with all that are reached through them. */
async function readServers(db: Db, { kind, id }: NeedsRoot): Promise<NeedingServer[]> {
  if (kind !== 'server' && kind !== 'keypair') return [];
  const keypairId = kind === 'keypair' ? id : null;
  const serverId = kind === 'server' ? id : null;
  return db.$queryRaw`
    with recursive needing as (
      select id from servers where keypair_id = ${keypairId}::uuid or id = ${serverId}::uuid
      union
      select s.id from servers s join needing n on s.jump_server_id = n.id
    )
    select id::text as "id", name, keypair_id::text as "keypairId", jump_server_id::text as "jumpServerId"
      from servers where id in (select id from needing) order by servers.id`;
}

async function readGitrepos(db: Db, { kind, id }: NeedsRoot): Promise<NeedingGitrepo[]> {
  if (kind === 'server' || kind === 'gitdeploy') return [];
  const [own, keypair, gitprovider] = (['gitrepo', 'keypair', 'gitprovider'] as const).map(
    (each) => (kind === each ? id : null),
  );
  return db.$queryRaw`
    select r.id::text as "id", r.name, a.id::text as "applicationId", a.name as "application",
           r.keypair_id::text as "keypairId", r.gitprovider_id::text as "gitproviderId",
           exists (select from gitrepo_branches b where b.gitrepo_id = r.id) as "hasHeads"
      from gitrepos r join applications a on a.id = r.application_id
     where r.id = ${own}::uuid or r.keypair_id = ${keypair}::uuid or r.gitprovider_id = ${gitprovider}::uuid
     order by r.id`;
}

async function readGitdeploys(
  db: Db,
  { kind, id }: NeedsRoot,
  gitrepos: readonly NeedingGitrepo[],
): Promise<NeedingGitdeploy[]> {
  const own = kind === 'gitdeploy' ? id : null;
  return db.$queryRaw`
    select g.id::text as "id", g.name, a.id::text as "applicationId", a.name as "application",
           g.gitrepo_id::text as "gitrepoId"
      from gitdeploys g join applications a on a.id = g.application_id
     where g.id = ${own}::uuid or g.gitrepo_id = any(${gitrepos.map((r) => r.id)}::uuid[])
     order by g.id`;
}

/**
 * Keeps others from changing these rows, and from referring to them, until the transaction ends. Who needs comes
 * before what is needed: whoever writes a row that refers to another one takes them in this order as well.
 */
export async function lockNeeds(tx: Db, root: NeedsRoot, needs: Needs): Promise<void> {
  const ids = (rows: readonly { readonly id: string }[]): string[] => rows.map(({ id }) => id);
  const { gitdeploys, servers, gitrepos } = needs;
  await tx.$executeRaw`select 1 from gitdeploys where id = any(${ids(gitdeploys)}::uuid[]) order by id for update`;
  await tx.$executeRaw`select 1 from servers where id = any(${ids(servers)}::uuid[]) order by id for update`;
  await tx.$executeRaw`select 1 from gitrepos where id = any(${ids(gitrepos)}::uuid[]) order by id for update`;
  if (root.kind === 'keypair') {
    await tx.$executeRaw`select 1 from keypairs where id = ${root.id}::uuid for update`;
  } else if (root.kind === 'gitprovider') {
    await tx.$executeRaw`select 1 from gitproviders where id = ${root.id}::uuid for update`;
  }
}

/** Deletes everything of `needs`, those that need before what they need; the builds and groups stay. */
export async function deleteNeeds(tx: Db, root: NeedsRoot, needs: Needs): Promise<void> {
  const those = (rows: readonly { readonly id: string }[]) => ({
    where: { id: { in: rows.map(({ id }) => id) } },
  });
  await tx.installation.deleteMany(those(needs.installations));
  await tx.gitdeploy.deleteMany(those(needs.gitdeploys));
  await tx.gitrepo.deleteMany(those(needs.gitrepos));
  // Among servers none comes first: a jump host may be reached through another one.
  await tx.server.updateMany({ ...those(needs.servers), data: { jumpServerId: null } });
  await tx.server.deleteMany(those(needs.servers));
  if (root.kind === 'keypair') await tx.keypair.delete({ where: { id: root.id } });
  if (root.kind === 'gitprovider') await tx.gitprovider.delete({ where: { id: root.id } });
}

/**
 * What is under way with any of these: the deployments of their gitdeploys and servers, and the jobs that work on them.
 * A job that only looks at a server or makes a gitrepo, and that nobody has begun, does not count: it is kept from being
 * begun until the transaction ends, and then finds that there is nothing to do.
 */
export async function findWorkOn(
  tx: Db,
  { servers, gitrepos, gitdeploys }: Needs,
): Promise<{ deployments: string[]; jobs: string[] }> {
  const serverIds = servers.map(({ id }) => id);
  const gitrepoIds = gitrepos.map(({ id }) => id);
  const gitdeployIds = gitdeploys.map(({ id }) => id);
  const deployments = await tx.$queryRaw<{ id: string }[]>`
    select d.id::text from deployments d
     where d.status in ('queued', 'preparing', 'running', 'paused', 'rolling_back')
       and exists (select from steps s where s.deployment_id = d.id
                    and (s.gitdeploy_id = any(${gitdeployIds}::uuid[]) or s.server_id = any(${serverIds}::uuid[])))
     order by d.id`;
  const idle = await tx.$queryRaw<{ id: string }[]>`
    select id::text from jobs
     where status = 'queued'
       and ((kind = 'create_gitrepo' and data->>'gitrepoId' = any(${gitrepoIds}))
            or (kind = 'check_server' and data->>'serverId' = any(${serverIds})))
     order by id for update skip locked`;
  const jobs = await tx.$queryRaw<{ id: string }[]>`
    select id::text from jobs
     where status in ('queued', 'running') and not (id = any(${idle.map(({ id }) => id)}::uuid[]))
       and ((kind = 'create_gitrepo' and data->>'gitrepoId' = any(${gitrepoIds}))
            or (kind = 'check_server' and data->>'serverId' = any(${serverIds}))
            or (kind in ('initialize_gitdeploy', 'deinitialize_gitdeploy')
                and (data->>'gitdeployId' = any(${gitdeployIds})
                     or exists (select from json_array_elements_text(data->'serverIds') as s(id)
                                 where s.id = any(${serverIds})))))
     order by id`;
  return { deployments: deployments.map(({ id }) => id), jobs: jobs.map(({ id }) => id) };
}
