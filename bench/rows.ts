import type { Row } from './row.ts';
import { BETWEEN_BUILDS } from './rows/between-builds.ts';
import { FIRST_DEPLOYMENT } from './rows/first-deployment.ts';
import { JUMP_HOST } from './rows/jump-host.ts';
import { MANY_SERVERS } from './rows/many-servers.ts';
import { NOTHING_CHANGED } from './rows/nothing-changed.ts';
import { PLAN } from './rows/plan.ts';
import { READING } from './rows/reading.ts';
import { REQUESTS } from './rows/requests.ts';
import { SLOW_WAY } from './rows/slow-way.ts';
import { UPDATE } from './rows/update.ts';
import { UPLOAD } from './rows/upload.ts';

/** All rows, in the order in which they run. Those of one group share servers and Muster, which end with the group. */
export const ROW_GROUPS: readonly (readonly Row[])[] = [
  // First deployments leave behind what updates begin with.
  [FIRST_DEPLOYMENT, UPDATE, BETWEEN_BUILDS, NOTHING_CHANGED],
  [SLOW_WAY],
  [MANY_SERVERS],
  [UPLOAD],
  [READING],
  [PLAN],
  [JUMP_HOST],
  [REQUESTS],
];
