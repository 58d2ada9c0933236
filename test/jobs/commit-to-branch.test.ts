import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { EMPTY_TREE } from '../../src/depot/git.ts';
import { type CommitOrder, commitToBranch } from '../../src/jobs/deployment/commit-to-branch.ts';
import { createDepotGuard } from '../../src/jobs/depot-guard.ts';
import type { JobContext } from '../../src/jobs/handler.ts';
import { insertApplication } from '../../src/store/applications.ts';
import { insertBuild } from '../../src/store/builds.ts';
import { findBranch, type GitrepoRow, insertGitrepo } from '../../src/store/gitrepos.ts';
import { createTransport } from '../../src/transport/transport.ts';
import { startTestApi, type TestApi } from '../api/test-api.ts';
import { failure, git } from '../depot/fixtures.ts';
import { type GitHttpServer, startGitHttpServer } from '../support/git-http-server.ts';

const DATE = new Date(1_700_000_000_000);

describe('committing to a branch whose repository is at a provider', () => {
  let api: TestApi;
  let server: GitHttpServer;
  let repositories: string;
  let applicationId: string;
  let buildId: string;
  let made = 0;
  const told: { kind: string; data: unknown }[] = [];

  const newGitrepo = async (): Promise<{ gitrepo: GitrepoRow; path: string }> => {
    made += 1;
    const name = `repo-${made}`;
    const path = join(repositories, `${name}.git`);
    await git(['init', '--quiet', '--bare', '--initial-branch=master', path]);
    const gitrepo = await insertGitrepo(api.services.database.db, {
      applicationId,
      name,
      existing: true,
      uri: `${server.url}/${name}.git`,
      gitproviderId: null,
      keypairId: null,
    });
    return { gitrepo, path };
  };
  /** A tree with one file, in the application's depot. */
  const treeOf = async (content: string): Promise<string> => {
    const gitDir = join(api.dataDirectory, 'depot', `${applicationId}.git`);
    const file = join(api.dataDirectory, 'content');
    await writeFile(file, content);
    const blob = await git(['--git-dir', gitDir, 'hash-object', '-w', file]);
    const listing = join(api.dataDirectory, 'listing');
    await writeFile(listing, `100644 blob ${blob}\tfile.txt\n`);
    const script = 'git --git-dir "$1" mktree <"$2"';
    const { runToEnd } = await import('../../scripts/fleet/run-to-end.ts');
    return (await runToEnd(['sh', '-c', script, 'sh', gitDir, listing])).stdout.trim();
  };
  const orderOf = async (
    gitrepo: GitrepoRow,
    content: string,
    record: CommitOrder['record'] = () => Promise.resolve(),
  ): Promise<CommitOrder> => ({
    gitrepo,
    branch: 'master',
    tree: await treeOf(content),
    buildId,
    message: `${content}\n`,
    date: DATE,
    record,
  });
  const commit = (order: CommitOrder, jobId = 'job-1') => {
    const never = new AbortController().signal;
    const context: JobContext = {
      jobId,
      log: api.services.log,
      signal: never,
      cancelled: never,
      lost: never,
      draining: never,
      emit: (kind, data) => {
        told.push({ kind, data });
        return Promise.resolve();
      },
      record: () => Promise.reject(new Error('a commit is recorded where the head moves')),
      change: () => Promise.reject(new Error('a commit is recorded where the head moves')),
      transaction: (work) => api.services.database.transaction(work),
    };
    const { config, database, depot } = api.services;
    const transport = createTransport({ ssh: { loginTimeoutMs: 1000 } });
    return commitToBranch({ config, database, depot, transport }, context, order).finally(() =>
      transport.close(),
    );
  };
  const headAt = (path: string): Promise<string> => git(['rev-parse', 'master'], path);
  const headOf = async ({ id }: GitrepoRow): Promise<string | undefined> =>
    (await findBranch(api.services.database.db, id, 'master'))?.headCommit;
  /** Somebody else commits on top of a commit, at the provider. */
  const strangerOn = async (path: string, parent: string): Promise<string> => {
    const theirs = await git(
      ['commit-tree', '-m', 'by hand', '-p', parent, `${parent}^{tree}`],
      path,
    );
    await git(['update-ref', 'refs/heads/master', theirs], path);
    return theirs;
  };

  beforeAll(async () => {
    api = await startTestApi();
    repositories = join(api.dataDirectory, 'remote');
    await mkdir(repositories);
    server = await startGitHttpServer(repositories, null);
    const { db } = api.services.database;
    applicationId = (await insertApplication(db, 'shop')).id;
    buildId = (await insertBuild(db, { applicationId, name: '1', attributes: {} })).id;
    await api.services.depot.createRepository(applicationId);
  });
  afterAll(async () => {
    await server.close();
    await api.close();
  });

  it('pushes the commit with its history, and moves the head', async () => {
    const { gitrepo, path } = await newGitrepo();
    const first = await commit(await orderOf(gitrepo, 'one'));
    const second = await commit(await orderOf(gitrepo, 'two'));
    expect(first.changedFiles).toMatchObject({ added: 1 });
    expect(await headAt(path)).toBe(second.commit);
    expect(await headOf(gitrepo)).toBe(second.commit);
    expect((await git(['rev-list', 'master'], path)).split('\n')).toHaveLength(3);
    expect(await git(['log', '-1', '--format=%an <%ae> %ct %s', 'master'], path)).toBe(
      'Muster <muster@localhost> 1700000000 two',
    );
  });

  it('makes no new commit of the tree that the head has', async () => {
    const { gitrepo, path } = await newGitrepo();
    const first = await commit(await orderOf(gitrepo, 'same'));
    const again = await commit(await orderOf(gitrepo, 'same'));
    expect(again.commit).toBe(first.commit);
    expect(await headAt(path)).toBe(first.commit);
  });

  it('goes on from the history of a repository that was there before', async () => {
    const { gitrepo, path } = await newGitrepo();
    await git(['hash-object', '-t', 'tree', '-w', '/dev/null'], path);
    const old = await git(['commit-tree', '-m', 'long ago', EMPTY_TREE], path);
    await git(['update-ref', 'refs/heads/master', old], path);
    const { commit: ours } = await commit(await orderOf(gitrepo, 'new'));
    expect(await git(['rev-list', 'master'], path)).toBe(`${ours}\n${old}`);
  });

  it('is done once, though the worker died between the push and the row', async () => {
    const { gitrepo, path } = await newGitrepo();
    await commit(await orderOf(gitrepo, 'before'));
    const before = await headOf(gitrepo);
    const dies = await orderOf(gitrepo, 'after', () => Promise.reject(new Error('killed')));
    await expect(commit(dies)).rejects.toThrow('killed');
    const pushed = await headAt(path);
    expect(await headOf(gitrepo)).toBe(before);
    const again = await commit(await orderOf(gitrepo, 'after'));
    expect(again).toMatchObject({ commit: pushed, changedFiles: { modified: 1 } });
    expect(await headOf(gitrepo)).toBe(pushed);
    expect(await headAt(path)).toBe(pushed);
  });

  it('takes in what others pushed there, and goes on from it', async () => {
    const { gitrepo, path } = await newGitrepo();
    const first = await commit(await orderOf(gitrepo, 'one'));
    const theirs = await strangerOn(path, first.commit);
    told.length = 0;
    const second = await commit(await orderOf(gitrepo, 'two'));
    expect(await git(['rev-list', 'master'], path)).toMatch(
      new RegExp(`^${second.commit}\n${theirs}\n${first.commit}\n`),
    );
    expect(told).toContainEqual({
      kind: 'head_taken_in',
      data: { gitrepo: gitrepo.name, branch: 'master', from: first.commit, to: theirs },
    });
  });

  it('takes in what others push during the push', async () => {
    const { gitrepo, path } = await newGitrepo();
    const first = await commit(await orderOf(gitrepo, 'one'));
    let theirs = '';
    server.onRequest = async (request) => {
      if (!request.endsWith('/git-receive-pack') || theirs !== '') return;
      theirs = 'under way';
      theirs = await strangerOn(path, first.commit);
    };
    const second = await commit(await orderOf(gitrepo, 'two'));
    server.onRequest = () => Promise.resolve();
    expect(theirs).toMatch(/^[0-9a-f]{40}$/);
    expect(await git(['rev-parse', 'master', 'master^'], path)).toBe(`${second.commit}\n${theirs}`);
  });

  it('tells both heads when the branch was rewritten there, and overwrites neither', async () => {
    const { gitrepo, path } = await newGitrepo();
    const first = await commit(await orderOf(gitrepo, 'one'));
    const theirs = await git(['commit-tree', '-m', 'rewritten', `${first.commit}^{tree}`], path);
    await git(['update-ref', 'refs/heads/master', theirs], path);
    const error = await failure(commit(await orderOf(gitrepo, 'two')), 'gitrepo_diverged');
    expect(error.details).toMatchObject({ muster_head: first.commit, provider_head: theirs });
    expect(error.message).toContain(first.commit);
    expect(error.message).toContain(theirs);
    expect(await headAt(path)).toBe(theirs);
    expect(await headOf(gitrepo)).toBe(first.commit);
    // As the message says: a merge of both there, and all is well again.
    const merge = await git(
      ['commit-tree', '-m', 'merge', '-p', theirs, '-p', first.commit, `${theirs}^{tree}`],
      path,
    );
    await git(['update-ref', 'refs/heads/master', merge], path);
    const second = await commit(await orderOf(gitrepo, 'two'));
    expect(await git(['rev-parse', 'master', 'master^'], path)).toBe(`${second.commit}\n${merge}`);
  });

  it('leaves the head where it was when the provider refuses', async () => {
    const { gitrepo, path } = await newGitrepo();
    const first = await commit(await orderOf(gitrepo, 'one'));
    const hook = '#!/bin/sh\necho "This branch is frozen." >&2\nexit 1\n';
    await writeFile(join(path, 'hooks/pre-receive'), hook, { mode: 0o755 });
    const error = await failure(commit(await orderOf(gitrepo, 'two')), 'gitprovider_refused');
    expect(error.message).toContain('This branch is frozen.');
    expect(await headOf(gitrepo)).toBe(first.commit);
    expect(await headAt(path)).toBe(first.commit);
  });

  it('waits while things are deleted from the depot', async () => {
    const { gitrepo, path } = await newGitrepo();
    const order: string[] = [];
    const waiting = await orderOf(gitrepo, 'one', () => {
      order.push('committed');
      return Promise.resolve();
    });
    const committing: ReturnType<typeof commit>[] = [];
    await createDepotGuard(api.services.database).whileQuiet({ applicationId }, async (isQuiet) => {
      committing.push(commit(waiting));
      // A commit that did not wait would be made by now, most likely; one that waits cannot be.
      await Promise.race([...committing, sleep(1000)]);
      expect(await isQuiet()).toBe(true);
      order.push('deleted');
    });
    const [made] = await Promise.all(committing);
    expect(order).toEqual(['deleted', 'committed']);
    expect(await headAt(path)).toBe(made?.commit);
  });

  it('lets jobs that commit at once go one after the other', async () => {
    const { gitrepo, path } = await newGitrepo();
    const orders = await Promise.all([orderOf(gitrepo, 'a')]);
    orders.push(await orderOf(gitrepo, 'b'), await orderOf(gitrepo, 'c'));
    const all = await Promise.all(orders.map((order, index) => commit(order, `job-${index}`)));
    const history = (await git(['rev-list', 'master'], path)).split('\n');
    expect(history).toHaveLength(4);
    expect(history.slice(0, 3).sort()).toEqual(all.map((one) => one.commit).sort());
    expect(await headOf(gitrepo)).toBe(history[0]);
  });
});
