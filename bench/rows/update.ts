import { breakdownTable, race, ratioFigures, timesTable } from '../race.ts';
import type { Row } from '../row.ts';
import { contestantNotes, usualSite } from './sites.ts';

/** Row 1: one file in a hundred has changed. */
export const UPDATE: Row = {
  number: 1,
  work: 'update: one file in a hundred changed, from POST …/deployments to succeeded',
  needsPeers: true,
  run: async (bench) => {
    const site = await usualSite(bench);
    for (const contestant of [site.us, ...site.peers]) await site.begin(contestant);
    const result = await race(bench, site, {
      repetitions: bench.options.repetitions,
      ways: (contestant) =>
        contestant.updates.map((way) => ({
          name: way.name,
          run: () => site.update(contestant, way),
        })),
    });
    return {
      figures: ratioFigures(result, site.us.name, [
        { peer: 'rsync', atMost: 0.5 },
        { peer: 'git push', atMost: 0.33 },
        { peer: 'Ansible git', atMost: 0.25 },
        { peer: 'Capistrano', atMost: 0.1 },
      ]),
      tables: [timesTable(result), breakdownTable('Where Muster’s time goes', result.breakdowns)],
      notes: contestantNotes(site, result.failures),
    };
  },
};
