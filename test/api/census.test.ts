import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readCensus } from '../../src/store/census.ts';
import { type RowTap, startRowTap } from '../support/row-tap.ts';
import { addPerson } from './people.ts';
import { startTestApi, type TestApi } from './test-api.ts';

let api: TestApi;
let tap: RowTap;
beforeAll(async () => {
  api = await startTestApi({
    reroute: async (databaseUrl) => {
      tap = await startRowTap(databaseUrl);
      return tap.databaseUrl;
    },
  });
});
afterAll(async () => {
  await api.close();
  await tap.close();
});

/** The bytes of the heap that somebody holds. */
function heldBytes(): number {
  setFlagsFromString('--expose-gc');
  const collect: unknown = runInNewContext('gc');
  if (typeof collect !== 'function') throw new Error('garbage cannot be collected');
  collect();
  return process.memoryUsage().heapUsed;
}

describe('a census of 10,000 pairs', () => {
  const COUNT = 100;
  /** Results with fewer rows are of something else; a row is a server, with its hundred pairs. */
  const SMALLEST_PAGE = 10;

  beforeAll(async () => {
    await api.call('PUT', '/app?app_name=large');
    const statements = [
      `insert into gitrepos (id, application_id, name)
         select gen_random_uuid(), id, 'r' from applications where name = 'large'`,
      `insert into builds (id, application_id, name, state)
         select gen_random_uuid(), id, 'build-1', 'stored' from applications where name = 'large'`,
      `insert into servers (id, name, environment, connection)
         select gen_random_uuid(), 'node' || n, case when n % 2 = 0 then 'even' else 'odd' end,
                '{"kind":"local","root":"/x"}' from generate_series(1, ${COUNT}) n`,
      `insert into gitdeploys (id, application_id, name, package_name, path, gitrepo_id, branch, options, actions)
         select gen_random_uuid(), r.application_id, 'deploy' || n, 'master', '/opt/' || n, r.id, 'b' || n, '{}', '{}'
           from gitrepos r, generate_series(1, ${COUNT}) n where r.name = 'r'`,
      `insert into groups (id, application_id, name, ordered)
         select gen_random_uuid(), id, 'group' || n, false from applications, generate_series(1, 9) n
          where name = 'large'`,
      `insert into group_gitdeploys (group_id, gitdeploy_id, level, position)
         select gr.id, g.id, 0, 0 from groups gr join gitdeploys g on g.name like 'deploy' || right(gr.name, 1) || '%'`,
      `insert into installations (id, gitdeploy_id, server_id, deployed_build_id, deployed_commit, head_commit,
                                  deployed_at, drift)
         select gen_random_uuid(), g.id, s.id, b.id, repeat('a', 40), repeat('a', 40), now(), 'none'
           from gitdeploys g, servers s, builds b where s.name like 'node%'`,
    ];
    for (const statement of statements) {
      await api.services.database.db.$executeRawUnsafe(statement);
    }
  });

  it('is whole and in order', async () => {
    const reply = await api.call('GET', '/app/large/census?details=true');
    expect(reply.status).toBe(200);
    expect(reply.headers['content-type']).toBe('application/json; charset=utf-8');
    expect(Object.keys(reply.body)).toEqual(['even', 'odd']);
    let leaves = 0;
    for (const groups of Object.values<Record<string, Record<string, object>>>(reply.body)) {
      expect(Object.keys(groups)).toEqual(Array.from({ length: 9 }, (_, n) => `group${n + 1}`));
      for (const servers of Object.values(groups)) {
        expect(Object.keys(servers)).toEqual(Object.keys(servers).sort());
        expect(Object.keys(servers)).toHaveLength(COUNT / 2);
        for (const gitdeploys of Object.values(servers)) leaves += Object.keys(gitdeploys).length;
      }
    }
    expect(leaves).toBe(COUNT * COUNT);
  });

  it('is read in pages, of which none is held when the next one comes', async () => {
    const pages: { pairs: number; heapBytes: number }[] = [];
    tap.onResult = (rows) => {
      if (rows >= SMALLEST_PAGE) pages.push({ pairs: rows * COUNT, heapBytes: heldBytes() });
    };
    const reply = await api.call('GET', '/app/large/census');
    tap.onResult = () => undefined;
    expect(pages.reduce((sum, { pairs }) => sum + pairs, 0)).toBe(COUNT * COUNT);
    for (const { pairs } of pages) expect(pairs).toBeLessThanOrEqual(1000);
    const [first, last] = [pages[0]?.heapBytes ?? 0, pages.at(-1)?.heapBytes ?? 0];
    const text = reply.text.length;
    // From page to page grows what goes out as it is; by far less than if the rows were held.
    expect(last - first - text).toBeLessThan((await bytesOfAllRows()) / 2);
  });

  /** What the rows take that a census is made of, if somebody holds all of them. */
  async function bytesOfAllRows(): Promise<number> {
    const { db } = api.services.database;
    const { id: applicationId } = await db.application.findUniqueOrThrow({
      where: { name: 'large' },
    });
    const before = heldBytes();
    const pages: unknown[] = [];
    await api.services.database.snapshot(async (tx) => {
      for await (const page of readCensus(tx, { applicationId })) pages.push(page);
    });
    const bytes = heldBytes() - before;
    expect(pages).toHaveLength((COUNT * COUNT) / 1000);
    return bytes;
  }

  it('is the one that the application shows, and is not sent again to who has it', async () => {
    const census = await api.call('GET', '/app/large/census');
    const application = await api.call('GET', '/app/large');
    expect(application.body).toMatchObject({ application: 'large', resources: expect.any(Array) });
    expect(application.body.census).toEqual(census.body);
    const headers = { 'if-none-match': String(census.headers['etag']) };
    const again = await api.call('GET', '/app/large/census', { headers });
    expect([again.status, again.text]).toEqual([304, '']);
    await api.call('PATCH', '/server/node1', { body: { environment: 'elsewhere' } });
    const changed = await api.call('GET', '/app/large/census?server=node1', { headers });
    expect([changed.status, Object.keys(changed.body)]).toEqual([200, ['elsewhere']]);
  });
});

describe('a census of what one name has', () => {
  beforeAll(async () => {
    await api.call('PUT', '/app?app_name=small');
    for (const [name, environment] of [
      ['bare', 'testing'],
      ['hidden', 'vault'],
    ]) {
      const connection = { kind: 'local', root: '/srv' };
      const body = { connection };
      await api.call('PUT', `/server?name=${name}&environment=${environment}`, { body });
    }
  });

  it.each([
    ['environment=testing'],
    ['server=bare'],
    ['group=-'],
    ['server=bare&environment=testing'],
  ])('is empty for %s, which is there and has nothing of the application', async (query) => {
    const reply = await api.call('GET', `/app/small/census?${query}`);
    expect([reply.status, reply.body]).toEqual([200, {}]);
  });

  it.each([
    ['environment=testin', 'environments `testin` (did you mean `testing`?)'],
    ['server=bar', 'servers `bar` (did you mean `bare`?)'],
    ['group=front', 'groups `front`'],
    ['server=bare&environment=nowhere', 'environments `nowhere`'],
  ])('is refused for %s, which nothing is called', async (query, words) => {
    const reply = await api.call('GET', `/app/small/census?${query}`);
    expect([reply.status, reply.body.error.code]).toEqual([400, 'invalid_input']);
    expect(reply.body.error.message).toContain(`There are no ${words}`);
  });

  it('does not tell who may not look at a server whether there is one', async () => {
    const permissions = { apps: { small: 'read' }, actions: {}, servers: ['ba*'] };
    const reader = await addPerson(api, 'reader', permissions);
    const ask = async (server: string): Promise<string> => {
      const reply = await reader.call('GET', `/app/small/census?server=${server}`);
      return `${reply.status} ${String(reply.body.error?.message).replaceAll(server, '…')}`;
    };
    expect(await ask('hidden')).toBe(await ask('invented'));
    expect(await ask('bare')).toBe('200 undefined');
  });
});
