import type { Row } from '../row.ts';
import { usualRace } from './usual-race.ts';

/** Row 5: the build is there already. */
export const NOTHING_CHANGED: Row = {
  number: 5,
  work: 'nothing changed: a build that is already there',
  needsPeers: true,
  run: (bench) =>
    usualRace(bench, {
      goals: [{ peer: 'Ansible git', atMost: 0.2 }],
      deliver: async (site, contestant, way) => {
        const version = await site.present(contestant);
        await way.prepare?.(version);
        const start = performance.now();
        await way.deliver(version);
        return performance.now() - start;
      },
    }),
};
