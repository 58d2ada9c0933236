import { runProgram } from '../builds/run-program.ts';
import type { Version } from '../builds/versions.ts';
import type { Way } from '../peers/contestant.ts';
import { breakdownTable, race, ratioToFastest, timesTable } from '../race.ts';
import type { Row } from '../row.ts';
import { openSite, type Site } from '../site.ts';
import { median, summary } from '../statistics.ts';
import { contestantNotes } from './sites.ts';

const SPEED = { roundTripMs: 40, megabitsPerSecond: 20 } as const;
/** Over such a way the first deliveries alone take minutes. */
const MAX_REPETITIONS = 3;

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
    /** The same way, with a look at what goes over the link meanwhile. */
    const counted = (way: Way): Way => ({
      ...way,
      deliver: async (version) => {
        const before = await sentBytes(site);
        await way.deliver(version);
        const bytes = ((await sentBytes(site)) - before) / site.fleet.servers.length;
        sent.push({ version, bytes });
      },
    });
    const result = await race(bench, site, {
      repetitions: Math.min(MAX_REPETITIONS, bench.options.repetitions),
      ways: (contestant) =>
        contestant.updates.map((way) => ({
          name: way.name,
          run: () => site.update(contestant, contestant === site.us ? counted(way) : way),
        })),
    });
    const bytesPerPack: number[] = [];
    for (const { version, bytes } of sent) {
      const pack = await thinPackBytes(site.versions.repository, version.commit);
      bytesPerPack.push(bytes / pack);
    }
    return {
      figures: [
        ratioToFastest(result, site.us.name, 0.5),
        {
          name: 'bytes sent per server by those of the thin pack',
          value: median(bytesPerPack),
          unit: '×',
          goal: { atMost: 1.1 },
          note: `${summary(bytesPerPack)}; with all that SSH adds, and the scripts`,
        },
      ],
      tables: [timesTable(result), breakdownTable('Where Muster’s time goes', result.breakdowns)],
      notes: [
        'The way is a process that passes connections on, as this bench must not slow down all of the loopback interface. Opening a TCP connection takes no time on it.',
        ...contestantNotes(site, result.failures),
      ],
    };
  },
};

async function sentBytes({ link }: Site): Promise<number> {
  return link === null ? 0 : (await link.bytes()).toServers;
}

/** What git alone would send to bring a commit to whoever has its parent. */
async function thinPackBytes(repository: string, commit: string): Promise<number> {
  const script =
    'printf "%s\\n^%s~1\\n" "$2" "$2" | git -C "$1" pack-objects --revs --thin --stdout -q --delta-base-offset | wc -c';
  const { stdout } = await runProgram(['sh', '-c', script, 'sh', repository, commit]);
  return Number(stdout);
}
