import { breakdownTable, race, ratioToFastest, timesTable } from '../race.ts';
import type { Row } from '../row.ts';
import { contestantNotes, usualSite } from './sites.ts';

/** It takes minutes with some peers. */
const MAX_REPETITIONS = 2;

/** Row 2: servers that have nothing yet. */
export const FIRST_DEPLOYMENT: Row = {
  number: 2,
  work: 'first deployment to fresh servers, with all that a fresh server needs',
  needsPeers: true,
  run: async (bench) => {
    const site = await usualSite(bench);
    const result = await race(bench, site, {
      repetitions: Math.min(MAX_REPETITIONS, bench.options.repetitions),
      ways: (contestant) => [{ name: contestant.first.name, run: () => site.first(contestant) }],
    });
    return {
      figures: [ratioToFastest(result, site.us.name, 1)],
      tables: [timesTable(result), breakdownTable('Where Muster’s time goes', result.breakdowns)],
      notes: [
        'Muster’s time holds `initialize` and the deployment; `bookkeeping` holds `initialize` here.',
        ...contestantNotes(site, result.failures),
      ],
    };
  },
};
