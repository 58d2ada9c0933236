import type { Config } from '../config.ts';
import type { Depot } from '../depot/depot.ts';
import type { Database } from '../store/database.ts';
import type { Transport } from '../transport/connection.ts';

/** What every handler works with. */
export interface JobDependencies {
  readonly config: Config;
  readonly database: Database;
  readonly depot: Depot;
  readonly transport: Transport;
}
