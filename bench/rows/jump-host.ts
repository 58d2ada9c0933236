import { join } from 'node:path';
import { sshFleetAvailable, startSshFleet } from '../../scripts/fleet/ssh-fleet.ts';
import { eachLimited } from '../../src/jobs/each-limited.ts';
import type { Bench } from '../bench.ts';
import { SMALL_BUILD } from '../builds/build-kind.ts';
import { openVersions } from '../builds/versions.ts';
import { type Breakdown, readBreakdown } from '../muster/breakdown.ts';
import {
  connectionOf,
  type MusterServer,
  makeMusterContestant,
  makeMusterKey,
  registerServer,
} from '../muster/contestant.ts';
import { startBenchMuster } from '../muster/muster.ts';
import { breakdownTable } from '../race.ts';
import type { Row } from '../row.ts';
import { table } from '../row.ts';
import { serverNames } from '../site.ts';
import { medianRatio, summary } from '../statistics.ts';

const SERVERS = 200;
/** With `--quick`. */
const QUICK_SERVERS = 40;
const JUMP = 'jump';
const MAX_REPETITIONS = 3;
const CHANGES_AT_ONCE = 8;

/** Row 10: many servers that are reached through one sshd as Debian configures it. */
export const JUMP_HOST: Row = {
  number: 10,
  work: `${SERVERS} servers behind one stock sshd as jump host`,
  needsPeers: false,
  run: async (bench) => {
    const { available, reason } = await sshFleetAvailable();
    if (!available) throw new Error(reason);
    const { update, route, failedSteps } = await openServers(bench);
    const direct: number[] = [];
    const throughJump: number[] = [];
    const breakdowns: Breakdown[] = [];
    for (let i = 0; i < Math.min(MAX_REPETITIONS, bench.options.repetitions); i += 1) {
      await route(undefined);
      direct.push((await update()).tookMs);
      await route(JUMP);
      const { tookMs, breakdown } = await update();
      throughJump.push(tookMs);
      breakdowns.push(breakdown);
    }
    const inSeconds = (times: readonly number[]): string => summary(times.map((ms) => ms / 1000));
    return {
      figures: [
        { name: 'failed steps', value: await failedSteps(), unit: '', goal: { atMost: 0 } },
        {
          name: 'time by that without the jump host',
          value: medianRatio(throughJump, direct),
          unit: '×',
          goal: { atMost: 1.5 },
        },
      ],
      tables: [
        table(
          'Seconds, median (least – greatest)',
          ['way', 'seconds'],
          [
            ['direct', inSeconds(direct)],
            ['through the jump host', inSeconds(throughJump)],
          ],
        ),
        breakdownTable('Where the time goes through the jump host', breakdowns),
      ],
      notes: [
        'sshd is that of Debian with MaxStartups 10:30:100 and MaxSessions 10, on the jump host and on the servers. No connection is open when a deployment begins, either way.',
      ],
    };
  },
};

async function openServers(bench: Bench): Promise<{
  update(): Promise<{ tookMs: number; breakdown: Breakdown }>;
  route(jump: string | undefined): Promise<void>;
  failedSteps(): Promise<number>;
}> {
  const muster = await startBenchMuster(bench, { MUSTER_OBSERVE_INTERVAL_SECONDS: '0' });
  const count = bench.options.quick ? QUICK_SERVERS : SERVERS;
  bench.say(`starting ${count} sshd`);
  const fleet = await startSshFleet({
    names: [JUMP, ...serverNames(count)],
    directory: join(await bench.directory('jump'), 'fleet'),
    authorizedKeys: [await makeMusterKey(muster)],
  });
  bench.onClose(() => fleet.close());
  const [jump, ...servers]: MusterServer[] = fleet.servers.map(({ name, port, hostKey }) => ({
    ...{ name, port, hostKey },
  }));
  if (jump === undefined) throw new Error('The fleet has no jump host.');
  await registerServer(muster, jump);
  const us = await makeMusterContestant({
    ...{ muster, application: 'shop', servers, place: '/opt' },
    remove: () => Promise.resolve(),
  });
  const versions = await openVersions(await bench.directory('small'), SMALL_BUILD);
  const begin = await versions.get(0);
  await us.first.prepare?.(begin);
  await us.first.deliver(begin);
  let number = 0;
  return {
    route: (through) =>
      eachLimited(servers, CHANGES_AT_ONCE, async (server) => {
        const way = through === undefined ? { ...server } : { ...server, jump: through };
        const connection = { jump: null, ...connectionOf(way) };
        await muster.call('PATCH', `/server/${server.name}`, { connection });
      }),
    update: async () => {
      bench.signal.throwIfAborted();
      number += 1;
      const version = await versions.get(number);
      await us.upload(version);
      const start = performance.now();
      const id = await us.deploy(version);
      const tookMs = performance.now() - start;
      bench.say(`version ${number} in ${Math.round(tookMs)} ms`);
      return { tookMs, breakdown: await readBreakdown(muster, id, tookMs) };
    },
    failedSteps: async () => {
      const [row] = await muster.sql<{ count: number }>(
        `select count(*)::int as count from steps where status <> 'succeeded' or attempts > 1`,
      );
      return row?.count ?? Number.NaN;
    },
  };
}
