import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ensureAdmin } from '../../src/services/authentication.ts';
import { addPerson, bearer, logIn, PASSWORD, type Person } from './people.ts';
import { type Answer, startTestApi, type TestApi } from './test-api.ts';

const TIME = expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
const UUID = expect.stringMatching(/^[0-9a-f-]{36}$/);
const WRONG = { status: 401, body: { error: { code: 'unauthenticated' } } };

let api: TestApi;
let bob: Person;
beforeAll(async () => {
  api = await startTestApi();
  bob = await addPerson(api, 'bob');
});
afterAll(() => api.close());

const post = (body: unknown, headers: Record<string, string> = {}): Promise<Answer> =>
  api.call('POST', '/global/tokens', { body, headers: { authorization: '', ...headers } });

describe('a login', () => {
  it('gives a token that is shown once and works at once', async () => {
    const reply = await post({ username: 'bob', password: PASSWORD, name: 'ci' });
    expect(reply.status).toBe(201);
    expect(reply.body).toEqual({
      id: UUID,
      name: 'ci',
      username: 'bob',
      token: expect.stringMatching(/^muster_[\w-]{43}$/),
      created_datetime: TIME,
      expires_datetime: null,
    });
    expect(reply.headers['cache-control']).toBe('no-store');
    expect(reply.headers['location']).toBe(`/global/tokens/${reply.body.id}`);
    const { token, username: _, ...shown } = reply.body;
    const own = await api.call('GET', `/global/tokens/${shown.id}`, { headers: bearer(token) });
    expect(own.body).toEqual({ ...shown, current: true });
    const others = await api.call('GET', `/global/tokens/${shown.id}`);
    expect(others.status).toBe(404);
    const used = await api.call('GET', '/global/tokens', { headers: bearer(reply.body.token) });
    expect(used.status).toBe(200);
    expect(used.text).not.toContain(reply.body.token);
    expect(api.logLines.join('\n')).not.toContain(reply.body.token);
    expect(api.logLines.join('\n')).not.toContain(PASSWORD);
  });

  it.each([
    ['a wrong password', { username: 'bob', password: 'wrong password' }],
    ['an empty password', { username: 'bob', password: '' }],
    ['an unknown user', { username: 'nobody', password: PASSWORD }],
    ['a user in other letters', { username: 'BOB', password: PASSWORD }],
    ['a user without a password', { username: 'admin', password: PASSWORD }],
    ['a name that no user can have', { username: '_global', password: PASSWORD }],
  ])('is refused with %s, always in the same words', async (_what, body) => {
    const reply = await post(body);
    expect(reply).toMatchObject(WRONG);
    expect(reply.body.error.message).toMatch(/^The username or the password is wrong/);
  });

  it.each([
    [undefined, 'The body'],
    [{}, '`username` is missing; `password` is missing'],
    [{ username: 'bob' }, '`password` is missing'],
    [{ username: 'bob\0', password: PASSWORD }, 'NUL'],
    [{ username: 'bob', password: 7 }, '`password` must be a string'],
    [{ username: 'bob', password: PASSWORD, expires_in: 0 }, '`expires_in` must be at least 1'],
    [{ username: 'bob', password: PASSWORD, expires_in: '60' }, '`expires_in` must be'],
    [{ username: 'bob', password: PASSWORD, expires_in: 1.5 }, '`expires_in` must be'],
    [{ username: 'bob', password: PASSWORD, expires_in: 1e12 }, '`expires_in` must be at most'],
    [{ username: 'bob', password: PASSWORD, name: 'a b' }, 'cannot be the name of a token'],
    [{ username: 'bob', password: PASSWORD, name: 'admin-token' }, 'choose another name'],
    [{ username: 'bob', password: PASSWORD, expire_in: 60 }, 'did you mean `expires_in`?'],
  ])('of %j is refused as bad input', async (body, message) => {
    const reply = await post(body);
    expect([reply.status, reply.body.error.message]).toEqual([
      400,
      expect.stringContaining(message),
    ]);
  });

  it('takes as long for an unknown user as for a wrong password', async () => {
    const measure = async (username: string): Promise<number> => {
      const start = performance.now();
      expect((await post({ username, password: 'wrong password' })).status).toBe(401);
      return performance.now() - start;
    };
    // A busy machine is slow now and then, never quick: the shortest of some times are compared. Who gets wrong logins
    // is limited, hence no more than eight.
    let [known, unknown] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
    const areAlike = () => unknown > known / 2 && known > unknown / 2;
    for (let tries = 0; tries < 3 || (tries < 8 && !areAlike()); tries += 1) {
      known = Math.min(known, await measure('bob'));
      unknown = Math.min(unknown, await measure('stranger'));
    }
    expect([known, unknown]).toSatisfy(areAlike);
  });

  it('is not kept for its Idempotency-Key: each one gives a token of its own', async () => {
    const headers = { 'idempotency-key': 'login-1' };
    const [first, second] = [
      await post({ username: 'bob', password: PASSWORD }, headers),
      await post({ username: 'bob', password: PASSWORD }, headers),
    ];
    expect([first.status, second.status]).toEqual([201, 201]);
    expect(first.body.token).not.toBe(second.body.token);
  });
});

describe('the number of tokens of a user', () => {
  let few: TestApi;
  beforeAll(async () => {
    few = await startTestApi({ settings: { MUSTER_TOKENS_PER_USER: '3' } });
    // Logs in: the first of three.
    await addPerson(few, 'carol');
  });
  afterAll(() => few.close());
  const logInAs = (username: string, more: object = {}): Promise<Answer> =>
    few.call('POST', '/global/tokens', {
      body: { username, password: PASSWORD, ...more },
      headers: { authorization: '' },
    });

  it('is bounded, also when many log in at once; what has ended does not count', async () => {
    const replies = await Promise.all(Array.from({ length: 5 }, () => logInAs('carol')));
    const refused = replies.filter(({ status }) => status !== 201);
    expect(refused.map(({ status }) => status)).toEqual([409, 409, 409]);
    expect(refused[0]?.body.error).toMatchObject({
      code: 'conflict',
      message: expect.stringContaining('User `carol` has 3 tokens, and no more than 3'),
      details: { username: 'carol', tokens: 3, limit: 3 },
    });
    const made = replies.find(({ status }) => status === 201);
    expect(
      await few.call('DELETE', `/global/tokens/${made?.body.id}`, {
        headers: bearer(made?.body.token),
      }),
    ).toMatchObject({ status: 200 });
    const { id } = (await logInAs('carol', { expires_in: 3600 })).body;
    expect((await logInAs('carol')).status).toBe(409);
    const { db } = few.services.database;
    await db.token.update({ where: { id }, data: { expiresAt: new Date(Date.now() - 1000) } });
    expect((await logInAs('carol')).status).toBe(201);
  });

  it("is each user's own, and says nothing to who does not know the password", async () => {
    expect((await logInAs('carol', { password: 'wrong password' })).status).toBe(401);
    await addPerson(few, 'dora');
    expect((await logInAs('dora')).status).toBe(201);
  });
});

describe('tokens', () => {
  it('expire when they were told to', async () => {
    const make = async (expiresIn: number) =>
      (await post({ username: 'bob', password: PASSWORD, expires_in: expiresIn })).body;
    const statusWith = async (token: string) =>
      (await api.call('GET', '/global/tokens', { headers: bearer(token) })).status;
    const [short, long] = [await make(1), await make(3600)];
    const lifeMs = Date.parse(long.expires_datetime) - Date.parse(long.created_datetime);
    expect(Math.abs(lifeMs - 3_600_000)).toBeLessThan(60_000);
    await expect.poll(() => statusWith(short.token)).toBe(401);
    expect(Date.now()).toBeGreaterThanOrEqual(Date.parse(short.expires_datetime));
    expect(await statusWith(long.token)).toBe(200);
    const { text } = await bob.call('GET', '/global/tokens');
    expect(text).not.toContain(short.id);
    expect(text).toContain(long.id);
  });

  it("are listed newest first, the caller's own alone, and say which one is in use", async () => {
    const carl = await addPerson(api, 'carl');
    const second = await logIn(api, 'carl');
    const { tokens } = (await carl.call('GET', '/global/tokens')).body;
    const shown = { id: UUID, name: 'login', created_datetime: TIME, expires_datetime: null };
    expect(tokens).toEqual([
      { ...shown, current: false },
      { ...shown, current: true },
    ]);
    const page = await second.call('GET', '/global/tokens?limit=1');
    expect(page.body).toMatchObject({ tokens: [{ current: true }], next: tokens[0].id });
    const rest = await second.call('GET', `/global/tokens?limit=1&after=${tokens[0].id}`);
    expect(rest.body.tokens).toEqual([{ ...shown, id: tokens[1].id, current: false }]);
  });

  it('are ended by their owner or an administrator, and others cannot tell that they exist', async () => {
    const dora = await addPerson(api, 'dora', { apps: { '*': 'read/write', _global: 'read' } });
    const [{ id }] = (await dora.call('GET', '/global/tokens')).body.tokens;
    const bobs = (await bob.call('GET', '/global/tokens')).body.tokens[0].id;
    const hidden = await dora.call('DELETE', `/global/tokens/${bobs}`);
    const unknown = await dora.call(
      'DELETE',
      '/global/tokens/00000000-0000-7000-8000-000000000000',
    );
    expect([hidden.status, unknown.status]).toEqual([404, 404]);
    expect(hidden.body.error.message.replace(bobs, '')).toBe(
      unknown.body.error.message.replace('00000000-0000-7000-8000-000000000000', ''),
    );
    expect(await dora.call('DELETE', `/global/tokens/${id}`)).toMatchObject({
      status: 200,
      body: { deleted: { token: id } },
    });
    expect((await dora.call('GET', '/global/tokens')).status).toBe(401);
    expect((await api.call('DELETE', `/global/tokens/${bobs}`)).status).toBe(200);
    expect((await api.call('DELETE', `/global/tokens/${bobs}`)).status).toBe(404);
    expect((await api.call('DELETE', '/global/tokens/no-uuid')).status).toBe(404);
  });

  it('end with their user', async () => {
    const erna = await addPerson(api, 'erna');
    await api.call('DELETE', '/global/users/erna');
    expect((await erna.call('GET', '/global/tokens')).status).toBe(401);
    const again = await addPerson(api, 'erna');
    expect((await erna.call('GET', '/global/tokens')).status).toBe(401);
    expect((await again.call('GET', '/global/tokens')).status).toBe(200);
  });

  it('are stored as a hash alone', async () => {
    const fred = await addPerson(api, 'fred');
    const rows = await api.services.database.db.token.findMany();
    const dump = JSON.stringify(rows.map((row) => ({ ...row, hash: [...row.hash].join() })));
    expect(dump).not.toContain(fred.token);
    expect(dump).not.toContain(fred.token.slice('muster_'.length));
    expect(rows.every(({ hash }) => hash.length === 32)).toBe(true);
  });

  it('of the first start, once ended, stay ended after a restart', async () => {
    const own = await startTestApi();
    const config = { ...own.services.config, adminToken: null };
    try {
      await ensureAdmin({ ...own.services, config });
      const token = (await readFile(join(own.dataDirectory, 'admin-token'), 'utf8')).trim();
      const headers = bearer(token);
      await own.call('PATCH', '/global/users/admin', { body: { password: PASSWORD }, headers });
      const admin = await logIn(own, 'admin');
      const { tokens } = (await admin.call('GET', '/global/tokens')).body;
      const { id } = tokens.find((one: { name: string }) => one.name === 'admin-token');
      expect((await admin.call('DELETE', `/global/tokens/${id}`)).status).toBe(200);
      await ensureAdmin({ ...own.services, config });
      expect((await own.call('GET', '/app', { headers })).status).toBe(401);
    } finally {
      await own.close();
    }
  });
});

describe('wrong logins', () => {
  it('are limited by username, even for the right password, and others may still log in', async () => {
    const own = await startTestApi();
    try {
      await addPerson(own, 'gina');
      await addPerson(own, 'hugo');
      const attempt = (password: string) =>
        own.call('POST', '/global/tokens', { body: { username: 'gina', password } });
      // All at once: they count before their passwords are looked at, and no turn comes back meanwhile.
      const wrong = Array.from({ length: 11 }, () => attempt('wrong password'));
      const limited = await Promise.any(
        wrong.map(async (one) => {
          const reply = await one;
          return reply.status === 429 ? reply : Promise.reject(new Error(reply.text));
        }),
      );
      expect(limited.body.error.code).toBe('too_many_requests');
      expect(limited.body.error.details.retry_after_seconds).toBeLessThanOrEqual(6);
      expect(limited.headers['retry-after']).toBe(
        String(limited.body.error.details.retry_after_seconds),
      );
      // Or else the limit would tell a guesser which guess was right.
      expect((await attempt(PASSWORD)).status).toBe(429);
      const statuses = (await Promise.all(wrong)).map(({ status }) => status);
      expect(statuses.filter((status) => status === 401)).toHaveLength(10);
      await logIn(own, 'hugo');
    } finally {
      await own.close();
    }
  });
});
