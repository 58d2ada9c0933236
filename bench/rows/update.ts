import type { Row } from '../row.ts';
import { usualRace } from './usual-race.ts';

/** Row 1: one file in a hundred has changed. */
export const UPDATE: Row = {
  number: 1,
  work: 'update: one file in a hundred changed, from POST …/deployments to succeeded',
  needsPeers: true,
  run: (bench) =>
    usualRace(bench, {
      goals: [
        { peer: 'rsync', atMost: 0.5 },
        { peer: 'git push', atMost: 0.33 },
        { peer: 'Ansible git', atMost: 0.25 },
        { peer: 'Capistrano', atMost: 0.1 },
      ],
      deliver: (site, contestant, way) => site.update(contestant, way),
    }),
};
