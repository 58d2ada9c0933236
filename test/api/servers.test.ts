import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { generateKeypair } from '../../src/transport/keypairs.ts';
import { type Answer, startTestApi, type TestApi } from './test-api.ts';

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi();
  await put('/global/keypairs?name=kp1&generate=true');
  await put('/global/keypairs?name=kp2&generate=true');
});
afterAll(async () => {
  await api.close();
});

const put = (url: string, body?: unknown): Promise<Answer> => api.call('PUT', url, { body });
const patch = (name: string, body: unknown): Promise<Answer> =>
  api.call('PATCH', `/server/${name}`, { body });
const ssh = (more: object = {}): object => ({
  connection: { kind: 'ssh', host: '10.0.0.1', user: 'deploy', keypair: 'kp1', ...more },
});
const register = (name: string, more: object = {}): Promise<Answer> =>
  put(`/server?name=${name}&environment=production`, ssh(more));
const hostKeyOf = async (name: string): Promise<string | null> =>
  (await api.call('GET', `/server/${name}`)).body.connection.host_key;
const audit = (subject: string): Promise<{ action: string; before: unknown; after: unknown }[]> =>
  api.services.database.db.auditEvent.findMany({ where: { subject }, orderBy: { id: 'asc' } });

describe('a connection by SSH', () => {
  it('has a user, port and keypair, becomes root if it is asked to, and is shown as it is', async () => {
    const made = await register('full', { port: 2222, become: true });
    expect(made).toMatchObject({
      status: 201,
      body: {
        connection: {
          kind: 'ssh',
          host: '10.0.0.1',
          port: 2222,
          user: 'deploy',
          keypair: 'kp1',
          host_key: null,
          become: true,
          jump: null,
        },
        facts: null,
        checked_at: null,
      },
    });
    expect((await register('plain')).body.connection).toMatchObject({ port: 22, become: false });
  });

  it.each([
    ['a port that is none', { port: 70_000 }, 400],
    ['a `become` that is neither', { become: 'maybe' }, 400],
    ['a key that it does not know', { becom: true }, 400],
    ['a keypair that does not exist', { keypair: 'kp9' }, 400],
    ['a jump host that does not exist', { jump: 'nowhere' }, 400],
    ['an option in place of a host', { host: '-oProxyCommand=x' }, 400],
    ['an option in place of a user', { user: '-x y' }, 400],
    ['a host key that is none', { host_key: 'ssh-ed25519 nonsense' }, 400],
  ])('is refused with %s', async (_what, more, status) => {
    expect((await register('refused', more)).status).toBe(status);
    expect((await api.call('GET', '/server/refused')).status).toBe(404);
  });
});

describe('a folder that stands for a server', () => {
  it.each(['srv/web', './web', '/srv/../web', '/srv/./web', '/srv/..'])(
    'is refused as %s',
    async (root) => {
      const body = { connection: { kind: 'local', root } };
      expect(await put('/server?name=refused&environment=e', body)).toMatchObject({
        status: 400,
        body: {
          error: { code: 'invalid_input', details: { parameter: 'connection.root' } },
        },
      });
    },
  );
});

describe('a pinned host key', () => {
  const [first = '', second = ''] = [generateKeypair(), generateKeypair()].map((k) => k.publicKey);

  it('is replaced alone, and forgotten with null', async () => {
    await register('pinned', { host_key: `${first} some comment` });
    expect(await hostKeyOf('pinned')).toBe(first);
    const changed = await patch('pinned', { host_key: second });
    expect([changed.status, changed.body.connection.host_key]).toEqual([200, second]);
    expect(changed.body.connection).toMatchObject({ host: '10.0.0.1', keypair: 'kp1' });
    expect((await patch('pinned', { host_key: null })).body.connection.host_key).toBeNull();
  });

  it('stays while the address does, and goes with it', async () => {
    await patch('pinned', { host_key: first });
    await patch('pinned', ssh({ user: 'root', keypair: 'kp2', become: true }));
    expect(await hostKeyOf('pinned')).toBe(first);
    await patch('pinned', { environment: 'testing' });
    expect(await hostKeyOf('pinned')).toBe(first);
    await patch('pinned', ssh({ host: '10.0.0.2' }));
    expect(await hostKeyOf('pinned')).toBeNull();
    await patch('pinned', ssh({ host: '10.0.0.2', host_key: first }));
    await patch('pinned', ssh({ host: '10.0.0.2', host_key: null }));
    expect(await hostKeyOf('pinned')).toBeNull();
  });

  it('is given once, and only for what shows one', async () => {
    const twice = await patch('pinned', { ...ssh({ host_key: first }), host_key: second });
    expect(twice.status).toBe(400);
    expect((await patch('pinned', { host_key: 'garbage' })).body.error.code).toBe('invalid_input');
    await put('/server?name=folder&environment=e', { connection: { kind: 'local', root: '/x' } });
    expect((await patch('folder', { host_key: first })).body.error.message).toContain('folder');
    expect(await hostKeyOf('pinned')).toBeNull();
  });
});

describe('a jump host', () => {
  beforeAll(async () => {
    await register('j1');
    await register('j2', { jump: 'j1' });
    await register('j3', { jump: 'j2' });
    await register('j4', { jump: 'j3' });
  });

  it('is another server by name, in a chain that is not too long', async () => {
    expect((await api.call('GET', '/server/j4')).body.connection.jump).toBe('j3');
    const tooLong = await register('j5', { jump: 'j4' });
    expect(tooLong.status).toBe(400);
    expect(tooLong.body.error.message).toContain('4 jump hosts');
    // What stands behind a server counts when that one is moved.
    await register('front');
    expect((await patch('j1', ssh({ jump: 'front' }))).status).toBe(400);
    expect((await patch('j4', ssh({ jump: 'j1' }))).body.connection.jump).toBe('j1');
    expect((await patch('j1', ssh({ jump: 'front' }))).status).toBe(200);
    expect((await patch('j1', ssh())).body.connection.jump).toBeNull();
  });

  it('never leads back to the server itself', async () => {
    for (const jump of ['j1', 'j2', 'j3']) {
      const refused = await patch('j1', ssh({ jump }));
      expect([refused.status, refused.body.error.code]).toEqual([400, 'invalid_input']);
      expect(refused.body.error.message).toContain('through itself');
    }
    expect((await register('self', { jump: 'self' })).status).toBe(400);
  });

  it('is reached by SSH, and stays so while others are reached from it', async () => {
    await put('/server?name=here&environment=e', { connection: { kind: 'local', root: '/x' } });
    expect((await register('x', { jump: 'here' })).body.error.message).toContain('folder');
    const folder = { connection: { kind: 'local', root: '/x' } };
    expect((await patch('j1', folder)).body.error).toMatchObject({
      code: 'in_use',
      details: { used_by: { servers: ['j2', 'j4'] } },
    });
  });

  it('is not deleted while others are reached from it, unless those are to go as well', async () => {
    expect(await api.call('DELETE', '/server/j2')).toMatchObject({
      status: 409,
      body: { error: { code: 'in_use', details: { used_by: { servers: ['j3'] } } } },
    });
    expect((await api.call('DELETE', '/server/j3')).status).toBe(200);
    expect((await api.call('DELETE', '/server/j2')).status).toBe(200);
  });

  it('does not become a circle by two changes at once', async () => {
    await register('a');
    await register('b');
    const both = await Promise.all([
      patch('a', ssh({ jump: 'b' })),
      patch('b', ssh({ jump: 'a' })),
    ]);
    expect(both.map(({ status }) => status).sort()).toEqual([200, 400]);
  });
});

describe('a freeze window', () => {
  const put = async (environment: string, name: string, schedule: string): Promise<string[]> => {
    const url = `/server/environments/${environment}/freezewindows?name=${name}`;
    const reply = await api.call('PUT', url, { body: { schedule, duration: 3600 } });
    expect(reply.status, reply.text).toBe(201);
    return reply.body.messages;
  };

  it('that freezes nothing is told as such when it is made: no server, or no time', async () => {
    await api.call('PUT', '/server?name=frozen&environment=wintertime', {
      body: { connection: { kind: 'local', root: '/srv/frozen' } },
    });
    expect(await put('wintertime', 'weekly', '0 18 * * 5')).toEqual([]);
    expect(await put('wintertime', 'later', '2999-12-24T12:00:00Z')).toEqual([]);
    expect(await put('wintertime', 'before', '2020-12-24T12:00:00Z')).toEqual([
      expect.stringContaining('over at 2020-12-24T13:00:00.000Z'),
    ]);
    expect(await put('wintertim', 'weekly', '0 18 * * 5')).toEqual([
      expect.stringMatching(/^No server is in environment `wintertim`.*did you mean `wintertime`/),
    ]);
    expect(await put('nowhere-near-it', 'before', '2020-12-24T12:00:00Z')).toHaveLength(2);
  });
});

describe('a server', () => {
  it('moves to another environment, and the old one is gone with its last server', async () => {
    await put('/server?name=mover&environment=before', ssh());
    expect((await patch('mover', { environment: 'after' })).body.environment).toBe('after');
    const { environments } = (await api.call('GET', '/server/environments')).body;
    expect(environments['after']).toEqual(['mover']);
    expect(environments).not.toHaveProperty('before');
    expect((await patch('mover', { environment: 'not a name' })).status).toBe(400);
    expect((await patch('mover', { environmnt: 'x' })).body.error.message).toContain('environment');
  });

  it('has all its changes written down, without secrets', async () => {
    await register('audited', { host_key: generateKeypair().publicKey });
    await patch('audited', { datacenter: 'north' });
    await api.call('POST', '/server/audited?check=true');
    await patch('audited', { environment: '/' });
    await api.call('DELETE', '/server/audited');
    const events = await audit('audited');
    expect(events.map(({ action }) => action)).toEqual([
      'server.create',
      'server.change',
      'server.check',
      'server.delete',
    ]);
    expect(events[1]).toMatchObject({
      username: 'admin',
      before: { datacenter: null, environment: 'production' },
      after: { datacenter: 'north', connection: { keypair: 'kp1', host_key: expect.any(String) } },
    });
    expect(JSON.stringify(events, (_key, value) => String(value))).not.toMatch(/PRIVATE|sealed/i);
  });

  it('is checked by a job, and by nothing else', async () => {
    const reply = await api.call('POST', '/server/plain?check=true');
    expect(reply.status).toBe(202);
    expect(reply.headers['location']).toBe(`/job/${reply.body.job.job_id}`);
    expect(reply.body).toMatchObject({
      name: 'plain',
      job: { kind: 'check_server', status: 'queued' },
    });
    for (const url of ['/server/plain', '/server/plain?check=false', '/server/plain?chek=true']) {
      expect((await api.call('POST', url)).status).toBe(400);
    }
    expect((await api.call('POST', '/server/nobody?check=true')).status).toBe(404);
  });
});
