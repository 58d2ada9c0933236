import { randomBytes } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { type SshFleet, startSshFleet } from '../../scripts/fleet/ssh-fleet.ts';
import { generateKeypair } from '../../src/transport/keypairs.ts';
import { createApiClient, type Reply } from '../support/api-client.ts';
import { packTarGz } from '../support/archive.ts';
import { startMuster, type TestMuster } from '../support/muster.ts';
import { requirePart } from '../support/parts.ts';
import { registerSecret, registerSecretsOf } from '../support/run-output.ts';
import { makeTemporaryDirectory, type TemporaryDirectory } from '../support/temporary-directory.ts';
import { makeWitness, type Witness } from '../support/witness.ts';

const available = requirePart('sshd') && requirePart('redis-server') && process.getuid?.() === 0;
const random = () => randomBytes(20).toString('hex');
const APP = '/app/widgets';
/** What Muster starts, or what its scripts start. */
const WATCHED = ['git', 'ssh', 'ssh-keygen', 'sh', 'bash', 'tar', 'env', 'ps', 'sudo'];

/**
 * Looks at all processes of the machine again and again, as a curious user of it might. Short ones may be missed: those
 * are for the witness.
 */
function watchProcesses() {
  const seen = new Set<string>();
  const stopped = new AbortController();
  const look = async (): Promise<void> => {
    for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
      seen.add(await readFile(join('/proc', pid, 'cmdline'), 'utf8').catch(() => ''));
    }
  };
  const watching = (async () => {
    while (!stopped.signal.aborted) {
      await look();
      await sleep(20);
    }
  })();
  return async (): Promise<string> => {
    stopped.abort();
    await watching;
    await look();
    return [...seen].join('\n');
  };
}

describe.skipIf(!available)('no secret is shown', () => {
  const admin = random();
  const secrets: Record<string, string> = {
    'admin token': admin,
    'secret key': randomBytes(32).toString('hex'),
    'token of a git provider': random(),
    'password of a user': `Pw1-${random()}`,
    'wrong password': `Pw2-${random()}`,
    'wrong token': random(),
    'password in an indirect_url': random(),
    'password in a body that is no JSON': random(),
    'password under a wrong name': random(),
  };
  let muster: TestMuster;
  let fleet: SshFleet;
  let directory: TemporaryDirectory;
  let witness: Witness;
  let processes = '';
  const replies: string[] = [];

  const keep = (reply: Reply): Reply => {
    replies.push(`${JSON.stringify([...reply.headers])} ${JSON.stringify(reply.body)}`);
    return reply;
  };
  /** The token goes in the URL, where it is most in danger. */
  const api = async (method: string, path: string, body?: unknown): Promise<Reply> => {
    const url = `${path}${path.includes('?') ? '&' : '?'}auth_token=${admin}`;
    registerSecretsOf(`${method} ${url}`, body);
    const response = await fetch(new URL(url, muster.url), {
      method,
      ...(body === undefined
        ? {}
        : { body: body instanceof Uint8Array ? new Uint8Array(body) : JSON.stringify(body) }),
    });
    const text = await response.text();
    const isJson = response.headers.get('content-type')?.includes('json') === true;
    return keep({
      status: response.status,
      headers: response.headers,
      body: isJson ? JSON.parse(text) : text,
    });
  };
  const must = async (method: string, path: string, body?: unknown): Promise<Reply> => {
    const reply = await api(method, path, body);
    expect({ path, status: reply.status, body: reply.body }).toMatchObject({
      status: expect.toSatisfy((status: number) => status < 300),
    });
    return reply;
  };

  /** Everything that has to do with a secret, going well and going wrong, at the level that logs most. */
  beforeAll(async () => {
    directory = await makeTemporaryDirectory();
    witness = await makeWitness(directory.path, WATCHED);
    const stopWatching = watchProcesses();
    const keypair = generateKeypair();
    secrets['private key'] = keypair.privateKey.split('\n').slice(2, -3).join('\n');
    muster = await startMuster('distributed', {
      PATH: witness.searchPath,
      MUSTER_LOG_LEVEL: 'trace',
      MUSTER_ADMIN_TOKEN: admin,
      MUSTER_SECRET_KEY: secrets['secret key'] ?? '',
    });
    secrets['password of the database'] = new URL(inject('postgresUrl')).password;
    fleet = await startSshFleet({
      names: ['web01'],
      directory: directory.path,
      authorizedKeys: [keypair.publicKey],
      sshdOptions: [`SetEnv=PATH=${witness.searchPath}`],
    });
    const [server] = fleet.servers;
    if (server === undefined) throw new Error('the fleet has no server');

    await must('PUT', '/global/keypairs?name=kp1', {
      private_key: keypair.privateKey,
      public_key: keypair.publicKey,
    });
    await api('PUT', '/global/keypairs?name=kp1', {
      private_key: keypair.privateKey,
      public_key: keypair.publicKey,
    });
    await must('PUT', '/global/gitproviders?name=gp1', {
      type: 'gitea',
      url: 'http://127.0.0.1:1',
      auth: { token: secrets['token of a git provider'] },
    });
    await must('PUT', '/global/users?username=ci', {
      password: secrets['password of a user'],
      permissions: { apps: { '*': 'read' }, actions: {}, servers: [] },
    });
    const login = (password: string | undefined) =>
      api('POST', '/global/tokens', { username: 'ci', password });
    const { body } = await login(secrets['password of a user']);
    secrets['token of a user'] = body.token;
    // It is shown in this reply, once.
    replies.pop();
    await login(secrets['wrong password']);
    await api('PUT', '/global/users?username=b', {
      passwort: secrets['password under a wrong name'],
    });

    const client = createApiClient({ url: muster.url, token: secrets['token of a user'] ?? '' });
    keep(await client('GET', '/app'));
    keep(await client('PUT', '/app?app_name=no'));
    const wrong = createApiClient({ url: muster.url, token: secrets['wrong token'] ?? '' });
    keep(await wrong('GET', '/app'));
    keep(await client('GET', `/app?auth_token=${secrets['wrong token']}`));
    keep(await client('GET', `/nothing?auth%5Ftoken=${secrets['wrong token']}`));
    const noJson = `{"password":"${secrets['password in a body that is no JSON']}",`;
    keep(await client('POST', '/global/tokens', noJson));
    keep(await client('PUT', '/global/users?username=c', noJson));

    await must('PUT', '/app?app_name=widgets');
    const { host, port, hostKey } = server;
    await must('PUT', '/server?name=web01&environment=production', {
      connection: { kind: 'ssh', host, port, user: 'root', keypair: 'kp1', host_key: hostKey },
    });
    await must('PUT', `${APP}/gitrepos?name=all&wait=60`);
    await api('PUT', `${APP}/gitrepos?name=provided&existing=false&gitprovider=gp1&wait=60`);
    await must('PUT', `${APP}/gitdeploys?name=All`, {
      package: 'master',
      location: { path: '/opt/widgets', gitrepo: 'all', default_branch: 'master' },
      actions: { postpull: { look: { 'cmd.run': [{ name: 'env; ps ax -o args || true' }] } } },
    });
    await must('POST', `${APP}/gitdeploys/All?initialize=true&wait=60`, { servers: ['web01'] });
    await must('PUT', `${APP}/builds?build_name=1`);
    await must('PUT', `${APP}/builds?build_name=2`);
    await must(
      'POST',
      `${APP}/builds/1?file_type=tar.gz&wait=60`,
      await packTarGz({ 'index.html': 'hello\n' }),
    );
    const source = `https://user:${secrets['password in an indirect_url']}@127.0.0.1:1/build.zip?token=${secrets['password in an indirect_url']}`;
    await api(
      'POST',
      `${APP}/builds/2?file_type=zip&wait=30&indirect_url=${encodeURIComponent(source)}`,
    );
    const deployed = await must('POST', `${APP}/deployments?build_name=1&wait=60`, {
      servers: ['web01'],
      gitdeploys: ['All'],
    });
    expect(deployed.body).toMatchObject({ status: 'succeeded' });

    // Whatever can be read afterwards.
    const jobs = await must('GET', '/job?limit=100');
    for (const job of jobs.body.jobs) {
      await api('GET', `/job/${typeof job === 'string' ? job : job.job_id}?results=true`);
    }
    for (const path of [
      '/audit?limit=1000',
      '/global/keypairs?details=true',
      '/global/gitproviders?details=true',
      '/global/users?details=true',
      '/global/tokens',
      '/server?details=true',
      `${APP}/builds?details=true`,
      `${APP}/deployments?details=true`,
      '/metrics',
      '/readyz',
    ]) {
      await must('GET', path);
    }
    await muster.restart();
    await must('GET', '/app');
    processes = await stopWatching();
    for (const [name, value] of Object.entries(secrets)) registerSecret(name, value);
  });
  afterAll(async () => {
    await fleet.close();
    await muster.close();
    await directory.remove();
  });

  /** The names of the secrets that a text holds. */
  const shownIn = (text: string): string[] =>
    Object.entries(secrets)
      .filter(([, secret]) =>
        [secret, JSON.stringify(secret).slice(1, -1), encodeURIComponent(secret)].some((one) =>
          text.includes(one),
        ),
      )
      .map(([name]) => name);

  it('of which all are long enough to be found', () => {
    expect(Object.keys(secrets)).toHaveLength(12);
    for (const secret of Object.values(secrets)) expect(secret.length).toBeGreaterThan(30);
    expect(shownIn(`a ${secrets['wrong token']} b`)).toEqual(['wrong token']);
  });

  it('in anything that its processes write', () => {
    const output = muster.output();
    // What is looked through is really there: requests and jobs of all kinds, at all levels.
    expect(output).toContain('auth_token=[redacted]');
    expect(output).toContain('"kind":"run_deployment"');
    expect(output.split('\n').length).toBeGreaterThan(60);
    expect(shownIn(output)).toEqual([]);
  });

  it('in the list of processes', () => {
    expect(processes).toContain('server.js');
    expect(shownIn(processes)).toEqual([]);
  });

  it('in the arguments or the environment of a program that Muster starts, here or on a server', async () => {
    const starts = await Promise.all(WATCHED.map((program) => witness.startsOf(program)));
    const text = starts.flat().join('\n');
    // The depot's, here, and those of the scripts on the server.
    expect(text).toMatch(/^git\0--git-dir=.*\0GIT_TERMINAL_PROMPT=0\0/m);
    expect(text).toMatch(/^git\0.*\0SSH_CONNECTION=/m);
    expect(shownIn(text)).toEqual([]);
  });

  it('in replies, job results, deployments, the audit or metrics', () => {
    expect(replies.length).toBeGreaterThan(40);
    const text = replies.join('\n');
    expect(text).toContain('log_excerpt');
    expect(shownIn(text)).toEqual([]);
  });
});
