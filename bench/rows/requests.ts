import { type BenchMuster, startBenchMuster } from '../muster/muster.ts';
import { type BareRoute, startBareServer } from '../requests/bare-server.ts';
import { type Load, putLoadOn } from '../requests/load.ts';
import { recordStatements, type Statement } from '../requests/statements.ts';
import type { Row } from '../row.ts';
import { table } from '../row.ts';
import { medianRatio, summary } from '../statistics.ts';

const CONNECTIONS = 10;
const DURATION_MS = 4000;
const QUICK_DURATION_MS = 2000;
/** Now and then something that Muster does by itself comes in between. */
const RECORDINGS = 6;
const PATH = '/app/shop/builds/b1';
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** Row 11: many small requests. */
export const REQUESTS: Row = {
  number: 11,
  work: 'small reads and writes per second on one API process',
  needsPeers: false,
  run: async (bench) => {
    const muster = await startBenchMuster(bench, { MUSTER_OBSERVE_INTERVAL_SECONDS: '0' });
    await muster.call('PUT', '/app?app_name=shop');
    await muster.call('PUT', '/app/shop/builds?build_name=b1');
    const routes = [await recordRoute(muster, 'GET'), await recordRoute(muster, 'PATCH')];
    const { databaseUrl } = muster;
    const bare = await startBareServer({ databaseUrl, connections: CONNECTIONS, routes });
    bench.onClose(() => bare.close());
    const durationMs = bench.options.quick ? QUICK_DURATION_MS : DURATION_MS;
    const rows = [];
    const figures = [];
    for (const { method, statements } of routes) {
      const ours: number[] = [];
      const theirs: number[] = [];
      // The first time the compiler is at work, on both sides.
      for (let i = 0; i <= bench.options.repetitions; i += 1) {
        bench.signal.throwIfAborted();
        const load = loadOf(muster.token, { method, durationMs });
        const mine = await putLoadOn({ ...load, url: muster.url });
        const other = await putLoadOn({ ...load, url: bare.url });
        if (i === 0) continue;
        ours.push(mine);
        theirs.push(other);
      }
      const name = method === 'GET' ? 'reads' : 'writes';
      figures.push({
        name: `${name} per second by those of bare Fastify`,
        value: medianRatio(ours, theirs),
        unit: '×',
        goal: { atLeast: 0.6 },
      });
      rows.push([
        `${method} ${PATH}`,
        String(statements.length),
        summary(ours, 0),
        summary(theirs, 0),
      ]);
    }
    const columns = ['request', 'statements', 'Muster', 'bare Fastify'];
    return {
      figures,
      tables: [table('Answers per second, median (least – greatest)', columns, rows)],
      notes: [
        `${CONNECTIONS} connections. The bare route sends the very statements that Muster was seen to send for the same request, one after the other, and replies with the same body; it checks no token, no input and no output, and logs nothing.`,
      ],
    };
  },
};

/** Does a request again and again, and sees what it asks PostgreSQL and what of that differs from one time to the next. */
async function recordRoute(muster: BenchMuster, method: 'GET' | 'PATCH'): Promise<BareRoute> {
  let body: unknown;
  const request = async (): Promise<void> => {
    body = await muster.call(
      method,
      PATH,
      method === 'PATCH' ? { attributes: { n: 1 } } : undefined,
    );
  };
  await request();
  let once = await recordStatements(muster, request);
  for (let attempt = 1; attempt <= RECORDINGS; attempt += 1) {
    const again = await recordStatements(muster, request);
    if (again.length > 0 && sameTexts(once, again)) {
      const statements = again.map((statement, i) => ({
        ...statement,
        fresh: freshValues(statement, once[i]),
      }));
      return { method, url: PATH, statements, body };
    }
    once = again;
  }
  throw new Error(`${method} ${PATH} asks PostgreSQL other things each time.`);
}

function sameTexts(some: readonly Statement[], others: readonly Statement[]): boolean {
  return some.length === others.length && some.every(({ text }, i) => text === others[i]?.text);
}

/** Ids that Muster made for this very request. */
function freshValues(statement: Statement, other: Statement | undefined): number[] {
  return statement.values.flatMap((value, i) =>
    value !== null && UUID.test(value) && other?.values[i] !== value ? [i] : [],
  );
}

function loadOf(
  token: string,
  of: { readonly method: 'GET' | 'PATCH'; readonly durationMs: number },
): Omit<Load, 'url'> {
  return {
    ...of,
    path: PATH,
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: of.method === 'PATCH' ? '{"attributes":{"n":1}}' : null,
    connections: CONNECTIONS,
  };
}
