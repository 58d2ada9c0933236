import { access, constants, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { applyMigrations } from '../prisma/migrate.ts';
import type { Config } from './config.ts';
import { openDepot } from './depot/depot.ts';
import { lockDataDirectory } from './embedded/data-directory-lock.ts';
import { startEmbeddedPostgres } from './embedded/postgres.ts';
import { createHandlers } from './jobs/handlers.ts';
import { startWorker, type Worker } from './jobs/worker.ts';
import { createBullmqQueue } from './queue/bullmq-queue.ts';
import { createInProcessQueue } from './queue/in-process-queue.ts';
import type { Queue } from './queue/queue.ts';
import type { ServiceContext } from './services/context.ts';
import { openDatabase } from './store/database.ts';
import { openListener } from './store/listener.ts';
import { createTransport } from './transport/transport.ts';

/** Whether each part that Muster needs can be used. */
export interface Health {
  readonly database: 'up' | 'down';
  readonly queue: 'up' | 'down';
  readonly storage: 'up' | 'down';
}

/** The parts of a Muster process, put together. */
export interface Muster {
  readonly services: ServiceContext;
  /** Starts to take jobs in this process. `close` stops it again. */
  startWorker(): void;
  checkHealth(): Promise<Health>;
  /** Ends everything in the order in which it rests on each other: work, queue, connections, PostgreSQL. */
  close(): Promise<void>;
}

/**
 * Puts a process together: PostgreSQL (its own in embedded mode) with its migrations applied, the queue, the depot
 * and the services. Whatever was started is ended again if a later part fails.
 * @throws {AppError} `conflict` if another Muster runs on the data directory, `service_unavailable`
 */
export async function composeMuster(config: Config, log: Logger): Promise<Muster> {
  const closing: (() => Promise<void>)[] = [];
  const close = async (): Promise<void> => {
    for (let end = closing.pop(); end !== undefined; end = closing.pop()) {
      // The rest must be closed even if one part does not close well.
      await end().catch((error: unknown) => log.warn({ err: error }, 'a part did not close well'));
    }
  };
  try {
    const databaseUrl = await provideDatabase(config, log, closing);
    const { applied } = await applyMigrations({ databaseUrl });
    if (applied.length > 0) log.info({ applied }, 'database migrated');

    const database = openDatabase({ databaseUrl, maxConnections: config.databaseConnections });
    closing.push(() => database.close());
    const listener = openListener(databaseUrl);
    closing.push(() => listener.close());
    const depotDirectory = join(config.dataDirectory, 'depot');
    await mkdir(depotDirectory, { recursive: true, mode: 0o700 });
    const depot = await openDepot({ directory: depotDirectory });
    const queue = provideQueue(config, log);
    closing.push(() => queue.close());

    const services: ServiceContext = { config, database, depot, queue, listener, log };
    let worker: Worker | null = null;
    return {
      services,
      startWorker: () => {
        if (worker !== null) return;
        const transport = createTransport({ ssh: { loginTimeoutMs: config.sshConnectTimeoutMs } });
        closing.push(() => transport.close());
        worker = startWorker({
          database,
          queue,
          handlers: createHandlers({ config, database, depot, transport }),
          log,
          concurrency: config.workerConcurrency,
        });
        closing.push(() => worker?.close() ?? Promise.resolve());
      },
      checkHealth: async () => ({
        database: await isUp(() => database.ping()),
        queue: await isUp(() => queue.ping()),
        storage: await isUp(() => access(depotDirectory, constants.R_OK | constants.W_OK)),
      }),
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

async function provideDatabase(
  config: Config,
  log: Logger,
  closing: (() => Promise<void>)[],
): Promise<string> {
  if (config.backends.mode === 'distributed') return config.backends.databaseUrl;
  const lock = await lockDataDirectory(config.dataDirectory);
  closing.push(() => lock.release());
  const postgres = await startEmbeddedPostgres({
    directory: config.dataDirectory,
    log: (message) => log.info(message),
  });
  closing.push(() => postgres.stop());
  return postgres.databaseUrl;
}

function provideQueue(config: Config, log: Logger): Queue {
  return config.backends.mode === 'distributed'
    ? createBullmqQueue({ redisUrl: config.backends.redisUrl, log })
    : createInProcessQueue();
}

async function isUp(check: () => Promise<unknown>): Promise<'up' | 'down'> {
  try {
    await check();
    return 'up';
  } catch {
    return 'down';
  }
}
