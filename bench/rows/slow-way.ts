import { setTimeout } from 'node:timers/promises';
import { runProgram } from '../builds/run-program.ts';
import type { Version } from '../builds/versions.ts';
import type { Contestant, Way } from '../peers/contestant.ts';
import { breakdownTable, race, ratioToFastest, timesTable } from '../race.ts';
import { type Row, table } from '../row.ts';
import { openSite, type Site } from '../site.ts';
import { medianRatio, summary } from '../statistics.ts';
import { contestantNotes } from './sites.ts';

const SPEED = { roundTripMs: 40, megabitsPerSecond: 20 } as const;
/** Over such a way the first deliveries alone take minutes. */
const MAX_REPETITIONS = 3;
/** Longer than a byte takes to the server, and the reply to it back. */
const REST_MS = 5 * SPEED.roundTripMs;

/** Row 4: as row 1, to servers that are far away. */
export const SLOW_WAY: Row = {
  number: 4,
  work: `the same update with ${SPEED.roundTripMs} ms round trip and ${SPEED.megabitsPerSecond} Mbit/s per server`,
  needsPeers: true,
  run: async (bench) => {
    const site = await openSite(bench, {
      name: 'far',
      slow: SPEED,
      withPeers: !bench.options.quick,
    });
    for (const contestant of [site.us, ...site.peers]) await site.begin(contestant);
    const sent: { readonly version: Version; readonly bytes: number }[] = [];
    /** Delivers by a way, and counts what its deployment alone sends: not what makes the worker warm before it. */
    const updateCounted = async (contestant: Contestant, way: Way): Promise<number> => {
      let before = 0;
      const prepare = async (version: Version): Promise<void> => {
        await way.prepare?.(version);
        before = await bytesAtRest(site);
      };
      const tookMs = await site.update(contestant, { ...way, prepare });
      const bytes = ((await bytesAtRest(site)) - before) / site.fleet.servers.length;
      sent.push({ version: await site.present(contestant), bytes });
      return tookMs;
    };
    const result = await race(bench, site, {
      repetitions: Math.min(MAX_REPETITIONS, bench.options.repetitions),
      ways: (contestant) =>
        contestant.updates.map((way) => ({
          name: way.name,
          run: () =>
            contestant === site.us ? updateCounted(contestant, way) : site.update(contestant, way),
        })),
    });
    const packs: number[] = [];
    for (const { version } of sent) {
      packs.push(await thinPackBytes(site.versions.repository, version.commit));
    }
    const sentBytes = sent.map(({ bytes }) => bytes);
    return {
      figures: [
        ratioToFastest(result, site.us.name, 0.5),
        {
          name: 'bytes sent per server by those of the thin pack',
          value: medianRatio(sentBytes, packs),
          unit: '×',
          goal: { atMost: 1.1 },
          note: 'with all that SSH adds, and the scripts',
        },
      ],
      tables: [
        timesTable(result),
        breakdownTable('Where Muster’s time goes', result.breakdowns),
        table(
          'Kilobytes to each server, median (least – greatest)',
          ['what', 'kilobytes'],
          [
            ['sent in all', inKilobytes(sentBytes)],
            ['thin pack', inKilobytes(packs)],
            ['beside the pack', inKilobytes(sentBytes.map((bytes, i) => bytes - (packs[i] ?? 0)))],
          ],
        ),
      ],
      notes: [
        'The way is a process that passes connections on, as this bench must not slow down all of the loopback interface. Opening a TCP connection takes no time on it.',
        ...contestantNotes(site, result.failures),
      ],
    };
  },
};

const inKilobytes = (bytes: readonly number[]): string =>
  summary(
    bytes.map((b) => b / 1000),
    1,
  );

/** Bytes to all servers so far, once nothing more goes there: what ends a command may come after its answer. */
async function bytesAtRest({ link }: Site): Promise<number> {
  if (link === null) return 0;
  for (let before = -1; ; ) {
    const { toServers } = await link.bytes();
    if (toServers === before) return toServers;
    before = toServers;
    await setTimeout(REST_MS);
  }
}

/**
 * What git alone would send to bring a commit to whoever has its parent. Without bitmaps: by those of a repository that is
 * kept for serving, git finds no objects to write deltas against, and the pack is several times as long.
 */
async function thinPackBytes(repository: string, commit: string): Promise<number> {
  const script =
    'printf "%s\\n^%s~1\\n" "$2" "$2" | git -C "$1" -c pack.useBitmaps=false pack-objects --revs --thin --stdout -q --delta-base-offset | wc -c';
  const { stdout } = await runProgram(['sh', '-c', script, 'sh', repository, commit]);
  return Number(stdout);
}
