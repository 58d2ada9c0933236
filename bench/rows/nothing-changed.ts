import { breakdownTable, race, ratioFigures, timesTable } from '../race.ts';
import type { Row } from '../row.ts';
import { contestantNotes, usualSite } from './sites.ts';

/** Row 5: the build is there already. */
export const NOTHING_CHANGED: Row = {
  number: 5,
  work: 'nothing changed: a build that is already there',
  needsPeers: true,
  run: async (bench) => {
    const site = await usualSite(bench);
    for (const contestant of [site.us, ...site.peers]) await site.begin(contestant);
    const result = await race(bench, site, {
      repetitions: bench.options.repetitions,
      ways: (contestant) =>
        contestant.updates.map((way) => ({
          name: way.name,
          run: async () => {
            const version = await site.present(contestant);
            await way.prepare?.(version);
            const start = performance.now();
            await way.deliver(version);
            return performance.now() - start;
          },
        })),
    });
    return {
      figures: ratioFigures(result, site.us.name, [{ peer: 'Ansible git', atMost: 0.2 }]),
      tables: [timesTable(result), breakdownTable('Where Muster’s time goes', result.breakdowns)],
      notes: contestantNotes(site, result.failures),
    };
  },
};
