import { existsSync } from 'node:fs';
import { chmod, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type SshFleet, startSshFleet } from '../../scripts/fleet/ssh-fleet.ts';
import { EMPTY_TREE } from '../../src/depot/git.ts';
import type { Remote } from '../../src/depot/remotes.ts';
import { generateKeypair } from '../../src/transport/keypairs.ts';
import { type GitHttpServer, startGitHttpServer } from '../support/git-http-server.ts';
import { requireSshFleet } from '../transport/ssh-lab.ts';
import { type DepotFixture, failure, git, openDepotFixture } from './fixtures.ts';

const PASSWORD = 'a-secret-token-of-the-tests';
const AUTHOR = { name: 'Muster', email: 'muster@localhost' };

/** The argv and environment of every process of the machine that may be looked at. */
async function processList(): Promise<string> {
  const texts: string[] = [];
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    if (pid === String(process.pid)) continue;
    for (const file of ['cmdline', 'environ']) {
      texts.push(await readFile(`/proc/${pid}/${file}`, 'utf8').catch(() => ''));
    }
  }
  return texts.join('\n');
}

describe('a repository on a git server', () => {
  let depot: DepotFixture;
  let server: GitHttpServer;
  let repositories: string;
  let made = 0;
  const next = (): number => {
    made += 1;
    return made;
  };

  const commitOn = (parent: string | null, message = `commit ${next()}\n`): Promise<string> =>
    depot.depot.commitTree({
      applicationId: depot.applicationId,
      tree: EMPTY_TREE,
      parent,
      message,
      author: AUTHOR,
      date: new Date(1_700_000_000_000),
    });
  const newRepository = async (): Promise<{ path: string; remote: Remote }> => {
    const name = `repo-${next()}.git`;
    const path = join(repositories, name);
    await git(['init', '--quiet', '--bare', '--initial-branch=master', path]);
    return {
      path,
      remote: {
        uri: `${server.url}/${name}`,
        login: { kind: 'password', username: 'muster', password: PASSWORD },
      },
    };
  };
  const push = (remote: Remote, commit: string, branch = 'master') =>
    depot.depot.pushCommit({ applicationId: depot.applicationId, remote, branch, commit });
  const list = (remote: Remote) =>
    depot.depot.listRemoteHeads({ applicationId: depot.applicationId, remote });
  const hook = async (path: string, script: string): Promise<void> => {
    await writeFile(join(path, 'hooks/pre-receive'), `#!/bin/sh\n${script}\n`);
    await chmod(join(path, 'hooks/pre-receive'), 0o755);
  };

  beforeAll(async () => {
    depot = await openDepotFixture();
    repositories = depot.path('remote');
    await mkdir(repositories);
    server = await startGitHttpServer(repositories, { username: 'muster', password: PASSWORD });
  });
  afterAll(async () => {
    await server.close();
    await depot.close();
  });

  it('has no heads while it is empty', async () => {
    const { remote } = await newRepository();
    expect(await list(remote)).toEqual({ heads: new Map(), defaultBranch: null });
  });

  it('gets a commit pushed, and the same one again without harm', async () => {
    const { path, remote } = await newRepository();
    const first = await commitOn(null);
    const second = await commitOn(first);
    expect(await push(remote, second)).toBe('pushed');
    expect(await push(remote, second)).toBe('pushed');
    expect(await git(['rev-parse', 'master'], path)).toBe(second);
    expect(await list(remote)).toEqual({
      heads: new Map([['master', second]]),
      defaultBranch: 'master',
    });
  });

  it('is fetched with its history', async () => {
    const { path, remote } = await newRepository();
    const root = await git(['commit-tree', '-m', 'root', EMPTY_TREE], path).catch(async () => {
      await git(['hash-object', '-t', 'tree', '-w', '/dev/null'], path);
      return git(['commit-tree', '-m', 'root', EMPTY_TREE], path);
    });
    const head = await git(['commit-tree', '-m', 'head', '-p', root, EMPTY_TREE], path);
    await git(['update-ref', 'refs/heads/main', head], path);
    const fetched = await depot.depot.fetchBranch({
      applicationId: depot.applicationId,
      remote,
      branch: 'main',
    });
    expect(fetched).toBe(head);
    const { applicationId } = depot;
    expect(await depot.depot.hasCommit(applicationId, root)).toBe(true);
    expect(await depot.depot.isAncestor({ applicationId, ancestor: root, commit: head })).toBe(
      true,
    );
    expect(await depot.depot.isAncestor({ applicationId, ancestor: head, commit: root })).toBe(
      false,
    );
    expect(await git(['for-each-ref', 'refs/muster/fetched/'], depot.gitDir)).toBe('');
  });

  it('is never overwritten: a push to a head that moved changes nothing and says so', async () => {
    const { path, remote } = await newRepository();
    const base = await commitOn(null);
    const theirs = await commitOn(base);
    const ours = await commitOn(base);
    await push(remote, theirs);
    expect(await push(remote, ours)).toBe('moved');
    expect(await git(['rev-parse', 'master'], path)).toBe(theirs);
  });

  it('tells a head that moves during the push from a refusal', async () => {
    const { path, remote } = await newRepository();
    const base = await commitOn(null);
    const theirs = await commitOn(base);
    const ours = await commitOn(base);
    await push(remote, base);
    await push(remote, theirs, 'other');
    await hook(path, `unset GIT_QUARANTINE_PATH; git update-ref refs/heads/master ${theirs}`);
    expect(await push(remote, ours)).toBe('moved');
    expect(await git(['rev-parse', 'master'], path)).toBe(theirs);
  });

  it('may refuse a push by a hook, whose words are told', async () => {
    const { path, remote } = await newRepository();
    await hook(path, 'echo "Only on weekdays, please." >&2; exit 1');
    const error = await failure(push(remote, await commitOn(null)), 'gitprovider_refused');
    expect(error.message).toContain('Only on weekdays, please.');
    expect(error.details).toMatchObject({
      words: 'Only on weekdays, please. pre-receive hook declined',
    });
    expect(error.retryable).toBe(false);
  });

  it('refuses wrong credentials, which are not told', async () => {
    const { remote } = await newRepository();
    const wrong: Remote = {
      ...remote,
      login: { kind: 'password', username: 'muster', password: 'a-wrong-password' },
    };
    const error = await failure(list(wrong), 'gitprovider_refused');
    expect(error.message).toMatch(/does not let Muster in.*credentials/);
    expect(JSON.stringify([error, error.message])).not.toContain('a-wrong-password');
  });

  it('is told from one that does not exist, and from a server that is down', async () => {
    const { remote } = await newRepository();
    const missing = await failure(
      list({ ...remote, uri: `${server.url}/nothing.git` }),
      'gitprovider_refused',
    );
    expect(missing.message).toMatch(/^There is no repository at http:/);
    const down = await failure(
      list({ ...remote, uri: 'http://127.0.0.1:1/x.git' }),
      'gitprovider_unreachable',
    );
    expect(down.retryable).toBe(true);
  });

  it('never sees the credentials follow a redirect', async () => {
    const { remote } = await newRepository();
    const stolen: unknown[] = [];
    const { createServer } = await import('node:http');
    const thief = createServer((request, response) => {
      stolen.push(request.headers.authorization);
      response.writeHead(404).end();
    }).listen(0, '127.0.0.1');
    const address = await new Promise<number>((resolve) =>
      thief.once('listening', () => {
        const at = thief.address();
        resolve(typeof at === 'object' && at !== null ? at.port : 0);
      }),
    );
    const redirecting = createServer((request, response) => {
      response
        .writeHead(302, { location: `http://127.0.0.1:${address}${request.url ?? ''}` })
        .end();
    }).listen(0, '127.0.0.1');
    await new Promise((resolve) => redirecting.once('listening', resolve));
    const at = redirecting.address();
    const port = typeof at === 'object' && at !== null ? at.port : 0;
    try {
      await failure(
        list({ ...remote, uri: `http://127.0.0.1:${port}/x.git` }),
        'gitprovider_refused',
      );
      expect(stolen).toEqual([]);
    } finally {
      thief.close();
      redirecting.close();
    }
  });

  it('is reached without a secret in any argument or environment, and nothing is left of it', async () => {
    const { path, remote } = await newRepository();
    // It runs in the repository, and holds the push until it has been looked at.
    await hook(path, 'touch held; while [ -e held ]; do sleep 0.05; done');
    const commit = await commitOn(null);
    const basic = Buffer.from(`muster:${PASSWORD}`).toString('base64');
    const pushed = push(remote, commit);
    const held = join(path, 'held');
    await expect.poll(() => existsSync(held)).toBe(true);
    const seen = await processList();
    const homes = (await readdir(join(depot.directory, '.tmp'))).filter((n) =>
      n.startsWith('remote-'),
    );
    await rm(held);
    expect(await pushed).toBe('pushed');
    expect(seen).toContain('git-remote-http');
    expect(seen).not.toContain(PASSWORD);
    expect(seen).not.toContain(basic);
    expect(homes).toHaveLength(1);
    expect(await readdir(join(depot.directory, '.tmp'))).toEqual([]);
    expect(await git(['config', '--list', '--local'], depot.gitDir)).not.toContain(basic);
  });

  it('ends a call when its signal is aborted', async () => {
    const { path, remote } = await newRepository();
    await hook(path, 'sleep 3');
    const abort = new AbortController();
    const pushed = depot.depot.pushCommit({
      applicationId: depot.applicationId,
      remote,
      branch: 'master',
      commit: await commitOn(null),
      signal: abort.signal,
    });
    setTimeout(() => abort.abort(new Error('enough')), 300);
    await expect(pushed).rejects.toThrow('enough');
  });

  it.each([
    'ext::sh -c id',
    '--upload-pack=id',
    'file:///etc',
    '/etc',
    'https://u:p@host/x',
    '-oProxyCommand=id:x',
  ])('is never %s', async (uri) => {
    await failure(list({ uri, login: { kind: 'none' } }), 'invalid_input');
  });
});

const available = await requireSshFleet();

describe.skipIf(!available)('a repository on a git server over SSH', () => {
  let depot: DepotFixture;
  let fleet: SshFleet;
  let remote: Remote;
  const { privateKey, publicKey } = generateKeypair();

  const commitOn = (message: string): Promise<string> =>
    depot.depot.commitTree({
      applicationId: depot.applicationId,
      tree: EMPTY_TREE,
      parent: null,
      message,
      author: AUTHOR,
      date: new Date(1_700_000_000_000),
    });
  const on = async (script: string): Promise<string> => {
    const { exitCode, stdout, stderr } = await fleet.inspect('git', script);
    expect({ exitCode, stderr }).toMatchObject({ exitCode: 0 });
    return stdout.trim();
  };

  beforeAll(async () => {
    depot = await openDepotFixture();
    await mkdir(depot.path('fleet'));
    fleet = await startSshFleet({
      names: ['git'],
      directory: depot.path('fleet'),
      authorizedKeys: [publicKey],
    });
    await on(
      'git init --quiet --bare --initial-branch=master "/srv/my repo.git"; ln -s "/srv/my repo.git" /srv/repo.git',
    );
    const port = fleet.servers[0]?.port ?? 0;
    remote = {
      uri: `ssh://root@127.0.0.1:${port}/srv/repo.git`,
      login: { kind: 'key', privateKey },
    };
  });
  afterAll(async () => {
    await fleet.close();
    await depot.close();
  });

  const push = (commit: string, to = remote) =>
    depot.depot.pushCommit({
      applicationId: depot.applicationId,
      remote: to,
      branch: 'master',
      commit,
    });

  it('gets a commit by the key, which no process shows, and pins the host key it sees first', async () => {
    await on(
      `printf '#!/bin/sh\\ntouch held; while [ -e held ]; do sleep 0.05; done\\n' >/srv/repo.git/hooks/pre-receive; chmod +x /srv/repo.git/hooks/pre-receive`,
    );
    const commit = await commitOn('by key\n');
    const pushed = push(commit);
    await on('until [ -e /srv/repo.git/held ]; do sleep 0.05; done');
    const seen = await processList();
    await on('rm /srv/repo.git/held; rm /srv/repo.git/hooks/pre-receive');
    expect(await pushed).toBe('pushed');
    expect(seen).toContain('ssh-config');
    expect(seen).not.toContain('PRIVATE KEY');
    expect(seen).not.toContain(privateKey.split('\n')[1]);
    expect(await on('git -C /srv/repo.git rev-parse master')).toBe(commit);
    const known = await readFile(join(depot.directory, 'known_hosts'), 'utf8');
    expect(known).toContain(fleet.servers[0]?.hostKey.split(' ')[1]);
    expect(await readdir(join(depot.directory, '.tmp'))).toEqual([]);
  });

  it('refuses a key that it does not know', async () => {
    const stranger = generateKeypair();
    const error = await failure(
      push(await commitOn('stranger\n'), {
        ...remote,
        login: { kind: 'key', privateKey: stranger.privateKey },
      }),
      'gitprovider_refused',
    );
    expect(error.message).toMatch(/does not let Muster in.*public key/);
  });

  it('is refused when it shows another host key', async () => {
    await fleet.rotateHostKey('git');
    const error = await failure(push(await commitOn('rotated\n')), 'host_key_changed');
    expect(error.message).toContain('known_hosts');
  });
});
