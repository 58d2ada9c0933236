import pg from 'pg';
import { type BenchMuster, startBenchMuster } from '../muster/muster.ts';
import type { Figure, Row } from '../row.ts';
import { table } from '../row.ts';
import { median, medianRatio, summary } from '../statistics.ts';

/** How much there is to be read. */
interface Amount {
  readonly servers: number;
  readonly deployments: number;
  readonly events: number;
}

const AMOUNT: Amount = { servers: 2000, deployments: 10_000, events: 100_000 };
/** With `--quick`. */
const QUICK: Amount = { servers: 400, deployments: 1000, events: 10_000 };
const GITDEPLOYS = 5;
const APPLICATION = 'shop';

const CENSUS_SQL = `
  select s.name as server, s.environment, g.name as gitdeploy, cb.name as committed, db.name as deployed
    from installations i
    join gitdeploys g on g.id = i.gitdeploy_id
    join servers s on s.id = i.server_id
    left join gitrepo_branches b on b.gitrepo_id = g.gitrepo_id and b.name = g.branch
    left join builds cb on cb.id = b.committed_build_id
    left join builds db on db.id = i.deployed_build_id
   where g.application_id = $1
   order by s.name collate "C", g.name collate "C"`;
const DEPLOYMENTS_SQL = `select * from deployments where application_id = $1 order by id desc`;
const EVENTS_SQL = `select id, kind, data from events where deployment_id = $1 order by id`;

/** What is asked of Muster, and what of PostgreSQL for the same rows. */
interface Reading {
  readonly name: string;
  readonly rows: number;
  readonly path: string;
  readonly sql: string;
  readonly value: string;
}

/** Row 8: much is read at once. */
export const READING: Row = {
  number: 8,
  work: `census of ${AMOUNT.servers * GITDEPLOYS} pairs, list of ${AMOUNT.deployments} deployments, stream of ${AMOUNT.events} events`,
  needsPeers: false,
  run: async (bench) => {
    const muster = await startBenchMuster(bench, { MUSTER_OBSERVE_INTERVAL_SECONDS: '0' });
    const readings = await fill(muster, bench.options.quick ? QUICK : AMOUNT);
    const client = new pg.Client({ connectionString: muster.databaseUrl });
    await client.connect();
    const repetitions = bench.options.quick ? 1 : bench.options.repetitions;
    const figures: Figure[] = [];
    const rows: string[][] = [];
    try {
      for (const reading of readings) {
        const ours: number[] = [];
        const firsts: number[] = [];
        const bare: number[] = [];
        for (let i = 0; i <= repetitions; i += 1) {
          const { firstByteMs, allMs } = await read(muster, reading);
          const start = performance.now();
          const { rowCount } = await client.query(reading.sql, [reading.value]);
          const bareMs = performance.now() - start;
          if (rowCount !== reading.rows) throw new Error(`${reading.name}: ${rowCount} rows.`);
          // The first time everything is cold, on both sides.
          if (i === 0) continue;
          ours.push(allMs);
          firsts.push(firstByteMs);
          bare.push(bareMs);
        }
        figures.push(
          {
            name: `${reading.name}: time by that of bare SQL`,
            value: medianRatio(ours, bare),
            unit: '×',
            goal: { atMost: 3 },
          },
          {
            name: `${reading.name}: first byte`,
            value: median(firsts),
            unit: 'ms',
            goal: { atMost: 50 },
          },
        );
        rows.push([reading.name, summary(ours, 0), summary(firsts, 0), summary(bare, 0)]);
      }
    } finally {
      await client.end();
    }
    const columns = ['what', 'reply', 'first byte of it', 'bare SQL'];
    return {
      figures,
      tables: [table('Milliseconds, median (least – greatest)', columns, rows)],
      notes: [
        'Bare SQL is one statement by `pg` in this process, with all rows as objects. The list is that of all ids at once, and its details page by page, 1,000 at a time.',
      ],
    };
  },
};

async function read(
  muster: BenchMuster,
  { path }: Reading,
): Promise<{ firstByteMs: number; allMs: number }> {
  let firstByteMs = 0;
  const start = performance.now();
  for (let after: string | null = ''; after !== null; ) {
    const page = after === '' ? path : `${path}&after=${after}`;
    const response = await fetch(new URL(page, muster.url), {
      headers: { authorization: `Bearer ${muster.token}` },
    });
    if (!response.ok || response.body === null) throw new Error(`${page}: ${response.status}`);
    const chunks: Uint8Array[] = [];
    for await (const chunk of response.body) {
      if (firstByteMs === 0) firstByteMs = performance.now() - start;
      chunks.push(chunk);
    }
    after = path.includes('details=true') ? nextPage(Buffer.concat(chunks)) : null;
  }
  return { firstByteMs, allMs: performance.now() - start };
}

/** It stands at the end. As of all replies, what a client makes of the rest is not measured. */
function nextPage(body: Buffer): string | null {
  const end = body.subarray(-MAX_END_BYTES).toString('utf8');
  if (!end.endsWith('}')) throw new Error(`The page does not end as JSON does: ${end}`);
  return /"next":"([^"]+)"\}$/.exec(end)?.[1] ?? null;
}

const MAX_END_BYTES = 100;

/** Writes the rows, as many as there would be after a long time. */
async function fill(muster: BenchMuster, amount: Amount): Promise<readonly Reading[]> {
  await muster.call('PUT', `/app?app_name=${APPLICATION}`);
  const [application] = await muster.sql<{ id: string }>('select id from applications');
  const id = application?.id ?? '';
  await muster.sql(
    `with build as (
       insert into builds (id, application_id, name, state) values (uuidv7(), $1, 'b1', 'stored') returning id),
     repo as (insert into gitrepos (id, application_id, name) values (uuidv7(), $1, 'repo') returning id),
     branch as (
       insert into gitrepo_branches (gitrepo_id, name, head_commit, head_tree, committed_build_id, updated_at)
       select repo.id, 'master', repeat('a', 40), repeat('b', 40), build.id, now() from repo, build),
     server as (
       insert into servers (id, name, environment, connection)
       select uuidv7(), 'web' || lpad(n::text, 5, '0'), (array['production', 'testing'])[1 + n % 2],
              '{"kind":"local","root":"/nonexistent"}'
         from generate_series(1, $2::int) n returning id),
     gitdeploy as (
       insert into gitdeploys (id, application_id, name, package_name, path, gitrepo_id, branch, options, actions)
       select uuidv7(), $1, 'gitdeploy-' || n, 'master', '/opt/app-' || n, repo.id, 'master',
              '{"favor":"ours","ignore-whitespace":true,"gitignore":[]}', '{"prepull":{},"postpull":{}}'
         from repo, generate_series(1, $3::int) n returning id)
     insert into installations (id, gitdeploy_id, server_id, deployed_build_id, deployed_commit, head_commit, deployed_at, drift)
     select uuidv7(), gitdeploy.id, server.id, build.id, repeat('a', 40), repeat('a', 40), now(), 'none'
       from server, gitdeploy, build`,
    [id, amount.servers, GITDEPLOYS],
  );
  await muster.call('PUT', `/app/${APPLICATION}/groups?name=all`, {
    gitdeploys: Array.from({ length: GITDEPLOYS }, (_, i) => `gitdeploy-${i + 1}`),
  });
  await muster.sql(
    `insert into deployments (id, application_id, build_name, username, status, target, options, created_at, finished_at)
     select uuidv7(), $1, 'b1', 'admin', 'succeeded',
            '{"style":"group","environments":["production"],"groups":["all"],"servers":[],"gitdeploys":[]}',
            '{"rolling_divisor":2,"rolling_pause":0,"ordered_pause":0,"max_failures":0,"on_failure":"stop","concurrency":50}',
            now(), now()
       from generate_series(1, $2::int)`,
    [id, amount.deployments],
  );
  const [newest] = await muster.sql<{ id: string }>(
    'select id from deployments order by id desc limit 1',
  );
  const deployment = newest?.id ?? '';
  await muster.sql(
    `insert into events (deployment_id, kind, data)
     select $1, 'output', json_build_object('server', 'web' || n % 20, 'gitdeploy', 'gitdeploy-1', 'stream', 'stdout',
            'text', 'line ' || n || ' of what a step has printed')
       from generate_series(1, $2::int) n`,
    [deployment, amount.events],
  );
  await muster.sql('analyze');
  const app = `/app/${APPLICATION}`;
  return [
    {
      ...{ name: 'census', rows: amount.servers * GITDEPLOYS, path: `${app}/census` },
      ...{ sql: CENSUS_SQL, value: id },
    },
    {
      ...{ name: 'deployments', rows: amount.deployments, path: `${app}/deployments` },
      ...{ sql: DEPLOYMENTS_SQL, value: id },
    },
    {
      ...{ name: 'deployments with details', rows: amount.deployments },
      path: `${app}/deployments?details=true&limit=1000`,
      ...{ sql: DEPLOYMENTS_SQL, value: id },
    },
    {
      ...{ name: 'events', rows: amount.events, path: `${app}/deployments/${deployment}/events` },
      ...{ sql: EVENTS_SQL, value: deployment },
    },
  ];
}
