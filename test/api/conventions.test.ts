import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestApi, type TestApi } from './test-api.ts';

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi();
  await api.call('PUT', '/app?app_name=shop');
  await api.call('PUT', '/app/shop/gitrepos?name=r');
});
afterAll(() => api.close());

const GITDEPLOY = {
  package: 'master',
  location: { path: '/opt/shop', gitrepo: 'r', default_branch: 'master' },
};

describe('an error', () => {
  it('has one form, an id that the log knows, and no stack', async () => {
    const reply = await api.call('GET', '/app/nothing');
    expect(reply.status).toBe(404);
    expect(Object.keys(reply.body)).toEqual(['status', 'error', 'request_id']);
    expect(reply.body.error).toMatchObject({ code: 'not_found', details: { name: 'nothing' } });
    expect(reply.headers['x-request-id']).toBe(reply.body.request_id);
    expect(api.logLines.some((line) => line.includes(reply.body.request_id))).toBe(true);
    expect(reply.text).not.toMatch(/\.ts|node_modules| at /);
  });

  it('of the program itself says nothing about its cause to the caller, and everything to the log', async () => {
    const broken = { ...api.services.depot };
    Object.assign(api.services.depot, {
      removeRepository: () => {
        throw new Error('a secret detail');
      },
    });
    await api.call('PUT', '/app?app_name=doomed');
    const reply = await api.call('DELETE', '/app/doomed');
    Object.assign(api.services.depot, broken);
    expect(reply.status).toBe(500);
    expect(reply.body.error.code).toBe('internal');
    expect(reply.text).not.toContain('secret detail');
    expect(api.logLines.join('')).toContain('a secret detail');
  });
});

describe('what is not there', () => {
  it.each([
    ['/app/shop/buildz', 404, 'did you mean `/app/{application}/builds`?'],
    ['/application', 404, 'GET /openapi.json lists all there is'],
    ['/app/shpo', 404, 'did you mean `shop`?'],
    ['/job/not-an-id', 404, 'There is no job'],
    ['/app/shop/deployments/53716bfddf15e00e19043b8f', 404, 'There is no deployment'],
    ['/app/%ff', 400, 'percent-encoding'],
    ['/app/a%00b', 400, 'NUL'],
    [`/app/${'a'.repeat(500)}`, 404, 'does not exist'],
  ])('is said of %s with what to do', async (url, status, message) => {
    const reply = await api.call('GET', url);
    expect(reply.status).toBe(status);
    expect(reply.body.error.message).toContain(message);
  });

  it('is told from what is there with another method, which is 405 with Allow', async () => {
    const reply = await api.call('POST', '/app/shop/groups/');
    expect(reply.status).toBe(405);
    expect(reply.headers['allow']).toBe('GET, HEAD, PUT');
    expect(reply.body.error).toMatchObject({
      code: 'method_not_allowed',
      details: { allowed: ['GET', 'HEAD', 'PUT'] },
    });
  });
});

describe('parameters', () => {
  it.each([
    ['PUT', '/app?app_nam=x', '`app_nam` is not a parameter (did you mean `app_name`?)'],
    ['PUT', '/app?name=x', '(did you mean `app_name`?); `app_name` is missing'],
    ['GET', '/app/shop?sensus=false', '(did you mean `census`?)'],
    ['GET', '/server/environments?all=true', '(there is none here)'],
    ['GET', '/app?__proto__=x', '`__proto__` is not a parameter'],
    ['DELETE', '/app/shop?cascde=true', '(did you mean `cascade`?)'],
  ])('that are unknown are refused: %s %s', async (method, url, message) => {
    const reply = await api.call(method, url);
    expect(reply.status).toBe(400);
    expect(reply.body.error.code).toBe('unknown_parameter');
    expect(reply.body.error.message).toContain(message);
  });

  it.each([
    ['/app?details=maybe', '`details` must be true or false'],
    ['/app?details=', '`details` must be true or false'],
    ['/app?limit=0', '`limit` must be a whole number from 1 to 1000'],
    ['/app?limit=1001', '`limit` must be a whole number from 1 to 1000'],
    ['/app?limit=1e2', '`limit` must be a whole number'],
    ['/app?limit=1&limit=2', '`limit` must be given once'],
    ['/job?after=x', '`after` must be the id that `next` gave'],
  ])('that are wrong are refused: %s', async (url, message) => {
    const reply = await api.call('GET', url);
    expect(reply.status).toBe(400);
    expect(reply.body.error.code).toBe('invalid_input');
    expect(reply.body.error.message).toContain(message);
  });

  it.each(['true', 'TRUE', 'True', '1', 'yes'])('%s is true', async (word) => {
    const reply = await api.call('GET', `/app?details=${word}`);
    expect(reply.body.applications[0]).toMatchObject({ application: 'shop' });
  });

  it.each(['false', 'False', '0', 'no', 'NO'])('%s is false', async (word) => {
    const reply = await api.call('GET', `/app?details=${word}`);
    expect(reply.body.applications[0]).toBe('shop');
  });

  it.each(['-1', '1.5', '301', 'soon'])('wait=%s is refused', async (wait) => {
    const reply = await api.call('PUT', `/app/shop/gitrepos?name=never&wait=${wait}`);
    expect(reply.status).toBe(400);
    expect(reply.body.error.message).toContain('`wait` must be a whole number from 0 to 300');
  });
});

describe('a body', () => {
  it.each([
    'application/x-www-form-urlencoded',
    'application/json',
    'text/plain; charset=utf-8',
    'nonsense',
    '',
  ])('is read as JSON with the Content-Type %o', async (type) => {
    const name = `build-${type.replaceAll(/\W+/g, '.')}x`;
    const reply = await api.call('PUT', `/app/shop/builds?build_name=${name}`, {
      headers: { 'content-type': type },
      body: '{ "attributes": { "branch_name": "master" } }',
    });
    expect(reply.status).toBe(201);
    expect(reply.body.attributes).toEqual({ branch_name: 'master' });
  });

  it('that is no JSON is refused with the place of the error', async () => {
    const reply = await api.call('PUT', '/app/shop/builds?build_name=x', {
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
      body: '{ "attributes": { "a": 1, } }',
    });
    expect(reply.status).toBe(400);
    expect(reply.body.error).toMatchObject({
      code: 'invalid_json',
      details: { line: 1, column: 27 },
    });
  });

  it('that is a form is refused where an object is wanted', async () => {
    const reply = await api.call('PUT', '/app/shop/builds?build_name=x', {
      headers: { 'content-type': 'multipart/form-data; boundary=b' },
      body: '--b\r\ncontent-disposition: form-data; name="a"\r\n\r\n1\r\n--b--\r\n',
    });
    expect(reply.status).toBe(400);
    expect(reply.body.error.message).toContain('send a JSON object');
  });

  it('that is too large is refused with 413', async () => {
    const reply = await api.call('PUT', '/app/shop/builds?build_name=x', {
      body: { attributes: { text: 'x'.repeat(4 * 1024 * 1024) } },
    });
    expect([reply.status, reply.body.error.code]).toEqual([413, 'payload_too_large']);
  });

  it.each([
    [[], 'The body must be an object, not a list'],
    ['null', 'The body must be an object, not null'],
    ['', 'The body is missing'],
    [{ patterns: {} }, '`patterns` is not a key of the body'],
    [{ packages: { p: { pattern: ['*'] } } }, '`packages.p.pattern` is not a key of the body'],
    [{ packages: { p: { patterns: 'x' } } }, '`packages.p.patterns` must be a list, not a string'],
  ])('of another shape is refused: %j', async (body, message) => {
    const reply = await api.call('PUT', '/app/shop/packagemaps?name=m', { body });
    expect(reply.status).toBe(400);
    expect(reply.body.error.message).toContain(message);
  });

  it('tells all problems at once, of the query and of the body', async () => {
    const reply = await api.call('PUT', '/app/shop/gitdeploys?nmae=g', {
      body: { ...GITDEPLOY, package: 7, options: { favour: 'ours', gitignore: 'x' } },
    });
    expect(reply.status).toBe(400);
    const problems = reply.body.error.details.problems.map(
      (problem: { in: string; parameter: string }) => `${problem.in} ${problem.parameter}`,
    );
    expect(problems.sort()).toEqual([
      'body `options.favour`',
      'body `options.gitignore`',
      'body `package`',
      'query `name`',
      'query `nmae`',
    ]);
  });

  it('is refused where none is read', async () => {
    const reply = await api.call('PUT', '/app?app_name=other', { body: { app_name: 'other' } });
    expect([reply.status, reply.body.error.code]).toEqual([400, 'unknown_parameter']);
    expect((await api.call('GET', '/app/other')).status).toBe(404);
  });
});

describe('a list', () => {
  beforeAll(async () => {
    await api.call('PUT', '/app?app_name=paged');
    for (const name of ['b10', 'b2', 'B1', 'a.1', 'b1']) {
      await api.call('PUT', `/app/paged/builds?build_name=${name}`);
    }
  });

  it('gives all names, sorted, and no next page', async () => {
    const { body } = await api.call('GET', '/app/paged/builds');
    expect(body).toEqual({ application: 'paged', builds: ['B1', 'a.1', 'b1', 'b10', 'b2'] });
  });

  it.each([false, true])(
    'gives page after page until there is no next (details: %s)',
    async (details) => {
      const seen: unknown[] = [];
      let after = '';
      for (let pages = 0; pages < 10; pages += 1) {
        const { body } = await api.call(
          'GET',
          `/app/paged/builds?limit=2&details=${details}${after}`,
        );
        expect(body.builds.length).toBeLessThanOrEqual(2);
        seen.push(
          ...body.builds.map((b: string | { build_name: string }) =>
            typeof b === 'string' ? b : b.build_name,
          ),
        );
        if (!('next' in body)) break;
        after = `&after=${body.next}`;
      }
      expect(seen).toEqual(['B1', 'a.1', 'b1', 'b10', 'b2']);
    },
  );

  it('goes on after a name that is gone', async () => {
    const { body } = await api.call('GET', '/app/paged/builds?after=b0');
    expect(body.builds).toEqual(['b1', 'b10', 'b2']);
  });
});

describe('the root', () => {
  it('says who answers, that it lives and what is up', async () => {
    expect((await api.call('GET', '/')).body).toEqual({
      name: 'muster',
      version: expect.stringMatching(/^\d+\.\d+\.\d+/),
    });
    expect((await api.call('GET', '/healthz')).status).toBe(200);
    const up = { database: 'up', queue: 'up', storage: 'up' };
    expect(await api.call('GET', '/readyz')).toMatchObject({ status: 200, body: up });
    api.health = { ...api.health, queue: 'down' };
    expect(await api.call('GET', '/readyz')).toMatchObject({
      status: 503,
      body: { ...up, queue: 'down' },
    });
    api.health = { ...api.health, queue: 'up' };
  });
});
