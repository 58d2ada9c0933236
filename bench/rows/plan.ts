import { planGroupBatches, type TargetGroup } from '../../src/domain/batches.ts';
import type { Row } from '../row.ts';
import { table } from '../row.ts';
import { summary } from '../statistics.ts';

const GROUPS = 50;
const LEVELS = [['configuration'], ['application', 'assets']];
const SERVERS = [25_000, 50_000, 100_000] as const;

/** Row 9: the plan alone, without rows. */
export const PLAN: Row = {
  number: 9,
  work: `plan for 100,000 servers in ${GROUPS} groups`,
  needsPeers: false,
  run: (bench) => {
    const measured = SERVERS.map((count) => {
      const groups = makeGroups(count);
      const seconds = Array.from({ length: bench.options.repetitions + 1 }, () => plan(groups));
      // The first run is the compiler's.
      return { count, seconds: seconds.slice(1) };
    });
    const perServer = measured.map(({ count, seconds }) => Math.min(...seconds) / count);
    const all = measured.at(-1)?.seconds ?? [];
    return Promise.resolve({
      figures: [
        {
          name: 'seconds for 100,000 servers',
          value: Math.min(...all),
          unit: 's',
          goal: { atMost: 1 },
        },
        {
          name: 'time per server with 100,000 by that with 50,000',
          value: (perServer.at(-1) ?? Number.NaN) / (perServer.at(-2) ?? Number.NaN),
          unit: '×',
          goal: { atMost: 1.3 },
          note: 'linear is 1, quadratic is 2',
        },
      ],
      tables: [
        table(
          'Seconds, median (least – greatest)',
          ['servers', 'seconds'],
          measured.map(({ count, seconds }) => [count.toLocaleString('en'), summary(seconds, 3)]),
        ),
      ],
      notes: [
        'Half of the groups are rolling; every server is in two groups. As there is nothing to compare with, the least of the times counts: what else the machine does only adds to it.',
      ],
    });
  },
};

function makeGroups(servers: number): TargetGroup[] {
  const groups = Array.from({ length: GROUPS }, (_, i) => ({
    name: `group-${i}`,
    rolling: i % 2 === 0,
    servers: [] as string[],
    levels: LEVELS,
  }));
  for (let i = 0; i < servers; i += 1) {
    const name = `server-${i}`;
    groups[i % GROUPS]?.servers.push(name);
    groups[(i * 7 + 1) % GROUPS]?.servers.push(name);
  }
  return groups;
}

function plan(groups: readonly TargetGroup[]): number {
  const start = performance.now();
  const batches = planGroupBatches({
    groups,
    divisor: 4,
    rollingPauseSeconds: 0,
    orderedPauseSeconds: 0,
  });
  if (batches.length === 0) throw new Error('Nothing was planned.');
  return (performance.now() - start) / 1000;
}
