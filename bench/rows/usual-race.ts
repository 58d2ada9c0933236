import type { Bench } from '../bench.ts';
import type { Contestant, Way } from '../peers/contestant.ts';
import { breakdownTable, race, ratioFigures, timesTable } from '../race.ts';
import type { RowResult } from '../row.ts';
import type { Site } from '../site.ts';
import { contestantNotes, usualSite } from './sites.ts';

/** Has all contestants bring something to servers where they have been before, by each of their ways. */
export async function usualRace(
  bench: Bench,
  work: {
    readonly goals: Parameters<typeof ratioFigures>[2];
    /** @returns milliseconds */
    readonly deliver: (site: Site, contestant: Contestant, way: Way) => Promise<number>;
  },
): Promise<RowResult> {
  const site = await usualSite(bench);
  for (const contestant of [site.us, ...site.peers]) await site.begin(contestant);
  const result = await race(bench, site, {
    repetitions: bench.options.repetitions,
    ways: (contestant) =>
      contestant.updates.map((way) => ({
        name: way.name,
        run: () => work.deliver(site, contestant, way),
      })),
  });
  return {
    figures: ratioFigures(result, site.us.name, work.goals),
    tables: [timesTable(result), breakdownTable('Where Muster’s time goes', result.breakdowns)],
    notes: contestantNotes(site, result.failures),
  };
}
