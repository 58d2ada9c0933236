import type { Drift } from '../domain/census.ts';
import type { Db } from './database.ts';

/** What one server has of one gitdeploy now. */
export interface DeployedPair {
  readonly serverId: string;
  readonly gitdeployId: string;
  readonly server: string;
  readonly deployedCommit: string;
  readonly deployedBuild: string | null;
  readonly drift: Drift;
}

/** What the servers of some gitdeploys have now, by server. */
export function listDeployedPairs(
  db: Db,
  gitdeployIds: readonly string[],
): Promise<DeployedPair[]> {
  return db.$queryRaw<DeployedPair[]>`
    select i.server_id::text as "serverId", i.gitdeploy_id::text as "gitdeployId", s.name as "server",
           i.deployed_commit as "deployedCommit", b.name as "deployedBuild", i.drift::text as "drift"
      from installations i
      join servers s on s.id = i.server_id
      left join builds b on b.id = i.deployed_build_id
     where i.gitdeploy_id = any(${[...gitdeployIds]}::uuid[])
     order by s.name collate "C", i.gitdeploy_id`;
}

/** The head of a branch, and the build that was committed to it last. */
export interface BranchHead {
  readonly gitrepoId: string;
  readonly branch: string;
  readonly headCommit: string;
  readonly headTree: string;
  readonly committedBuild: string | null;
}

/** All branches of some gitrepos. */
export function listBranchHeads(db: Db, gitrepoIds: readonly string[]): Promise<BranchHead[]> {
  return db.$queryRaw<BranchHead[]>`
    select r.gitrepo_id::text as "gitrepoId", r.name as "branch", r.head_commit as "headCommit",
           r.head_tree as "headTree", b.name as "committedBuild"
      from gitrepo_branches r left join builds b on b.id = r.committed_build_id
     where r.gitrepo_id = any(${[...gitrepoIds]}::uuid[])
     order by r.gitrepo_id, r.name collate "C"`;
}
