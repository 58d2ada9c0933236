import type { Bench } from '../bench.ts';
import { SMALL_BUILD } from '../builds/build-kind.ts';
import { runProgram } from '../builds/run-program.ts';
import { openVersions, type Versions } from '../builds/versions.ts';
import { type Breakdown, readBreakdown } from '../muster/breakdown.ts';
import { makeMusterContestant, makeMusterKey } from '../muster/contestant.ts';
import { startBenchMuster } from '../muster/muster.ts';
import { breakdownTable } from '../race.ts';
import type { Row } from '../row.ts';
import { table } from '../row.ts';
import { serverNames } from '../site.ts';
import { PLACE, startSmallServers } from '../small-servers/small-servers.ts';
import { median, summary } from '../statistics.ts';

const FEW = 100;
const MANY = 1000;
/** With `--quick`. */
const QUICK = { few: 10, many: 50 } as const;
const MAX_REPETITIONS = 3;
const MEGABYTE = 1_000_000;

/** Row 6: ten times the servers take ten times the time, and no more memory. */
export const MANY_SERVERS: Row = {
  number: 6,
  work: `${FEW} and ${MANY} servers, a small build`,
  needsPeers: false,
  run: async (bench) => {
    const versions = await openVersions(await bench.directory('small'), SMALL_BUILD);
    const counts = bench.options.quick ? QUICK : { few: FEW, many: MANY };
    const few = await measure(bench, versions, counts.few);
    const many = await measure(bench, versions, counts.many);
    const perServer = (of: typeof few, count: number): number[] => of.times.map((ms) => ms / count);
    const [ofFew, ofMany] = [perServer(few, counts.few), perServer(many, counts.many)];
    return {
      figures: [
        {
          name: 'time per server with many by that with few',
          value: median(ofMany) / median(ofFew),
          unit: '×',
          goal: { atMost: 1.2 },
        },
        {
          name: 'memory of the worker with many servers',
          value: many.peakBytes / MEGABYTE,
          unit: 'MB',
          goal: { atMost: 400 },
          note: `with few: ${(few.peakBytes / MEGABYTE).toFixed(0)} MB`,
        },
      ],
      tables: [
        table(
          'Milliseconds per server, median (least – greatest)',
          ['servers', 'milliseconds'],
          [
            [String(counts.few), summary(ofFew, 1)],
            [String(counts.many), summary(ofMany, 1)],
          ],
        ),
        breakdownTable('Where the time goes with few servers', few.breakdowns),
        breakdownTable('Where the time goes with many servers', many.breakdowns),
      ],
      notes: ['The servers are one process that speaks SSH and runs git in small clones.'],
    };
  },
};

async function measure(
  bench: Bench,
  versions: Versions,
  count: number,
): Promise<{ times: number[]; peakBytes: number; breakdowns: Breakdown[] }> {
  const muster = await startBenchMuster(bench, { MUSTER_OBSERVE_INTERVAL_SECONDS: '0' });
  await makeMusterKey(muster);
  const directory = await bench.directory(`servers-${count}`);
  const small = await startSmallServers(count, directory);
  bench.onClose(() => small.close());
  const names = serverNames(count);
  const us = await makeMusterContestant({
    muster,
    application: 'shop',
    servers: names.map((name, i) => ({ name, port: small.ports[i] ?? 0, hostKey: small.hostKey })),
    place: PLACE,
    remove: () => Promise.resolve(),
  });
  const begin = await versions.get(0);
  await us.first.prepare?.(begin);
  bench.say(`${count} servers: first deployment`);
  await us.first.deliver(begin);
  const times: number[] = [];
  const breakdowns: Breakdown[] = [];
  await muster.forgetPeakMemory();
  for (
    let number = 1;
    number <= Math.min(MAX_REPETITIONS, bench.options.repetitions);
    number += 1
  ) {
    bench.signal.throwIfAborted();
    const version = await versions.get(number);
    await us.upload(version);
    const start = performance.now();
    const id = await us.deploy(version);
    const tookMs = performance.now() - start;
    bench.say(`${count} servers: version ${number} in ${Math.round(tookMs)} ms`);
    times.push(tookMs);
    breakdowns.push(await readBreakdown(muster, id, tookMs));
  }
  const { peak } = await muster.memory();
  await small.close();
  await runProgram(['rm', '-rf', directory]);
  return { times, peakBytes: peak, breakdowns };
}
