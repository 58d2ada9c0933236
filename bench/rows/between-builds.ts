import { readFile } from 'node:fs/promises';
import type { Bench } from '../bench.ts';
import { readBetweenBuildsMs } from '../muster/between-builds.ts';
import { readBatchMs } from '../muster/breakdown.ts';
import { openConnections } from '../open-connections.ts';
import type { Row } from '../row.ts';
import { table } from '../row.ts';
import type { Site } from '../site.ts';
import { medianRatio, summary } from '../statistics.ts';
import { usualSite } from './sites.ts';

const BACK = 'git reset -q --hard HEAD~1';
const FORTH = 'git reset -q --hard ORIG_HEAD';
/** What anything takes at least that is done on all servers at once: nothing, and one git, and ten. */
const FLOORS = [
  'true',
  'git rev-parse HEAD',
  'for i in 1 2 3 4 5 6 7 8 9 10; do git rev-parse HEAD; done',
] as const;

/** Row 3: for how long servers of one batch have different builds. */
export const BETWEEN_BUILDS: Row = {
  number: 3,
  work: 'time in which a batch is between builds, from its first switch to its last',
  needsPeers: false,
  run: async (bench) => {
    const site = await usualSite(bench);
    const { windows, batches, resets, floors } = await measure(bench, site);
    return {
      figures: [
        {
          name: 'time by that of git reset --hard alone',
          value: medianRatio(windows, resets),
          unit: '×',
          goal: { atMost: 1.3 },
        },
      ],
      tables: [
        table(
          'Milliseconds, median (least – greatest)',
          ['what', 'milliseconds'],
          [
            ['from the first server’s first change to the last one’s last', summary(windows, 0)],
            ['batch, from its `started_at` to its `finished_at`', summary(batches, 0)],
            ['git reset --hard, the same files in the same clones', summary(resets, 0)],
            ...FLOORS.map((command) => [`\`${command}\``, summary(floors.get(command) ?? [], 0)]),
          ],
        ),
      ],
      notes: [
        'What happens on servers is read from the times of their files. The batch’s time holds, beside that, the look whether a server may be switched, at the end of which each waits for the others, and what Muster writes down of each step. `git reset --hard` goes to all servers at once by SSH connections that are open, and ends with the last answer.',
      ],
    };
  },
};

async function measure(
  bench: Bench,
  site: Site,
): Promise<{
  windows: readonly number[];
  batches: readonly number[];
  resets: readonly number[];
  floors: ReadonlyMap<string, readonly number[]>;
}> {
  const { us, muster } = site;
  const [way] = us.updates;
  if (way === undefined) throw new Error('Muster has no way to update.');
  await site.begin(us);
  const connections = await openConnections(site.fleet.servers, await readFile(site.peerKey));
  const windows: number[] = [];
  const batches: number[] = [];
  const resets: number[] = [];
  const floors = new Map<string, number[]>(FLOORS.map((command) => [command, []]));
  const timed = async (command: string): Promise<number> => {
    const start = performance.now();
    await connections.runOnAll(`cd ${us.path()} && ${command}`);
    return performance.now() - start;
  };
  try {
    for (let i = 0; i < bench.options.repetitions; i += 1) {
      await site.update(us, way);
      windows.push(await readBetweenBuildsMs(site));
      batches.push(await readBatchMs(muster, us.deployments.at(-1) ?? ''));
      // The very same change once more: back, which is not measured, and forth.
      await timed(BACK);
      resets.push(await timed(FORTH));
      for (const [command, times] of floors) times.push(await timed(command));
    }
  } finally {
    connections.close();
  }
  return { windows, batches, resets, floors };
}
