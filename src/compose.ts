import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { applyMigrations } from '../prisma/migrate.ts';
import type { Health } from './api/routes/root.ts';
import { readVersion } from './api/version.ts';
import type { Config } from './config.ts';
import { openDepot } from './depot/depot.ts';
import { AppError } from './domain/errors.ts';
import { lockDataDirectory } from './embedded/data-directory-lock.ts';
import { startEmbeddedPostgres } from './embedded/postgres.ts';
import { createHealthCheck, probeStorage } from './health.ts';
import { startWebhookDeliverer } from './jobs/deliver-webhooks.ts';
import { createDepotGuard } from './jobs/depot-guard.ts';
import { createHandlers } from './jobs/handlers.ts';
import { startObserver } from './jobs/observe-servers.ts';
import { startUpkeep } from './jobs/start-upkeep.ts';
import { startWorker, type Worker } from './jobs/worker.ts';
import type { Metrics, MetricsPage } from './metrics/metrics.ts';
import { createPrometheusMetrics } from './metrics/prometheus.ts';
import { createBullmqQueue } from './queue/bullmq-queue.ts';
import { createInProcessQueue } from './queue/in-process-queue.ts';
import type { Queue } from './queue/queue.ts';
import type { ServiceContext } from './services/context.ts';
import { checkSecretKey } from './services/secret-key.ts';
import { type Database, openDatabase } from './store/database.ts';
import { abandonClaims } from './store/jobs.ts';
import { insertJoiningJob, JOIN_TOPIC } from './store/joined-jobs.ts';
import { openListener } from './store/listener.ts';
import { countWork } from './store/statistics.ts';
import type { Transport } from './transport/connection.ts';
import { createTransport } from './transport/transport.ts';

/** The parts of a Muster process, put together. */
export interface Muster {
  readonly services: ServiceContext;
  readonly metrics: Metrics & MetricsPage;
  /** Asks every part, each for 2 seconds at most. */
  checkHealth(): Promise<Health>;
  /** Starts to take jobs in this process. */
  startWorker(): void;
  /** Takes no more jobs, and waits until those under way have come to a safe point. */
  drain(): Promise<void>;
  /** Ends everything in the order in which it rests on each other: work, queue, connections, PostgreSQL. */
  close(): Promise<void>;
}

/**
 * Puts a process together: PostgreSQL (its own in embedded mode) with its migrations applied, the queue, the depot
 * and the services. Whatever was started is ended again if a later part fails.
 * @throws {AppError} in one sentence for an operator: `conflict` if another Muster runs on the data directory or the
 *   secret key is the wrong one, `storage_failed`, `service_unavailable`
 */
export function composeMuster(config: Config, log: Logger): Promise<Muster> {
  return closingOnFailure(log, (parts) => compose(config, log, parts));
}

/** Lends the database alone, migrated, for work that needs Muster to be down. */
export async function withDatabase<T>(
  config: Config,
  log: Logger,
  work: (database: Database) => Promise<T>,
): Promise<T> {
  const { database, close } = await closingOnFailure(log, async (parts) => ({
    ...(await provideDatabase(config, log, parts)),
    close: parts.close,
  }));
  try {
    return await work(database);
  } finally {
    await close();
  }
}

async function compose(config: Config, log: Logger, parts: Parts): Promise<Muster> {
  await probeStorage(config.dataDirectory);
  const { database, databaseUrl } = await provideDatabase(config, log, parts);
  await checkSecretKey(database, config.secretKey);
  if (config.backends.mode === 'embedded') {
    // The data directory is locked, so whoever had a job is gone for sure: nobody waits for its lease to end.
    const left = await abandonClaims(database.db);
    if (left > 0) log.info({ jobs: left }, 'jobs of the process before are gone on with');
  }
  const listener = openListener(databaseUrl);
  parts.add(() => listener.close());
  const depotDirectory = join(config.dataDirectory, 'depot');
  await mkdir(depotDirectory, { recursive: true, mode: 0o700 });
  const depot = await openDepot({
    directory: depotDirectory,
    searchPath: config.searchPath,
    guard: createDepotGuard(database),
  });
  const queue = await provideQueue(config, log, parts);

  const services: ServiceContext = { config, database, depot, queue, listener, log };
  let transport: Transport | null = null;
  let worker: Worker | null = null;
  const checkHealth = createHealthCheck({
    database: () => database.ping(),
    queue: () => queue.ping(),
    storage: () => probeStorage(depotDirectory),
  });
  const metrics = createPrometheusMetrics({
    version: readVersion(),
    health: checkHealth,
    work: () => countWork(database),
    databasePool: database.poolStatistics,
    ssh: () => transport?.statistics() ?? null,
  });
  return {
    services,
    metrics,
    checkHealth,
    startWorker: () => {
      if (worker !== null) return;
      const opened = createTransport({
        ssh: { loginTimeoutMs: config.sshConnectTimeoutMs },
        searchPath: config.searchPath,
      });
      transport = opened;
      parts.add(() => opened.close());
      const dependencies = { config, database, depot, transport: opened };
      const intervalSeconds = config.observeIntervalSeconds;
      if (intervalSeconds > 0) {
        const observer = startObserver({ dependencies, log, intervalSeconds });
        parts.add(() => observer.close());
      }
      const started = startWorker({
        database,
        queue,
        handlers: createHandlers(dependencies),
        log,
        concurrency: config.workerConcurrency,
        leaseSeconds: config.jobLeaseSeconds,
        listener,
        join: { topic: JOIN_TOPIC, find: (name) => insertJoiningJob(database, name) },
        retentionDays: config.jobRetentionDays,
        auditRetentionDays: config.auditRetentionDays,
        onJobEnded: metrics.jobEnded,
      });
      worker = started;
      parts.add(() => started.close());
      const deliverer = startWebhookDeliverer({
        config,
        database,
        listener,
        log,
        version: readVersion(),
      });
      parts.add(() => deliverer.close());
      const upkeep = startUpkeep({ config, database, depot, queue, log });
      parts.add(() => upkeep.close());
    },
    drain: () => worker?.close() ?? Promise.resolve(),
    close: parts.close,
  };
}

/** What was started, to be ended in the opposite order. */
interface Parts {
  add(end: () => Promise<void>): void;
  close(): Promise<void>;
}

async function closingOnFailure<T>(log: Logger, start: (parts: Parts) => Promise<T>): Promise<T> {
  const ends: (() => Promise<void>)[] = [];
  const close = async (): Promise<void> => {
    for (let end = ends.pop(); end !== undefined; end = ends.pop()) {
      // The rest must be closed even if one part does not close well.
      await end().catch((error: unknown) => log.warn({ err: error }, 'a part did not close well'));
    }
  };
  try {
    return await start({ add: (end) => void ends.push(end), close });
  } catch (error) {
    await close();
    throw error;
  }
}

async function provideDatabase(
  config: Config,
  log: Logger,
  parts: Parts,
): Promise<{ database: Database; databaseUrl: string }> {
  const databaseUrl = await providePostgres(config, log, parts);
  try {
    const { applied } = await applyMigrations({ databaseUrl });
    if (applied.length > 0) log.info({ applied }, 'database migrated');
  } catch (cause) {
    if (cause instanceof AppError) throw cause;
    throw unreachable('PostgreSQL', databaseUrl, { setting: 'DATABASE_URL', cause });
  }
  const database = openDatabase({
    databaseUrl,
    maxConnections: config.databaseConnections,
    idleTransactionMs: config.jobLeaseSeconds * 1000,
  });
  parts.add(() => database.close());
  return { database, databaseUrl };
}

async function providePostgres(config: Config, log: Logger, parts: Parts): Promise<string> {
  if (config.backends.mode === 'distributed') return config.backends.databaseUrl;
  const lock = await lockDataDirectory(config.dataDirectory);
  parts.add(() => lock.release());
  const postgres = await startEmbeddedPostgres({
    directory: config.dataDirectory,
    log: (message) => log.info(message),
  });
  parts.add(() => postgres.stop());
  return postgres.databaseUrl;
}

/** Once started Muster does without Redis for as long as it must; a start without it is a mistake in the settings. */
async function provideQueue(config: Config, log: Logger, parts: Parts): Promise<Queue> {
  if (config.backends.mode === 'embedded') {
    const queue = createInProcessQueue();
    parts.add(() => queue.close());
    return queue;
  }
  const { redisUrl } = config.backends;
  const queue = createBullmqQueue({ redisUrl, log });
  parts.add(() => queue.close());
  try {
    await queue.ping();
  } catch (cause) {
    throw unreachable('Redis', redisUrl, { setting: 'REDIS_URL', cause });
  }
  return queue;
}

/** Names the place without the password that its URL may hold. */
function unreachable(
  what: string,
  url: string,
  { setting, cause }: { readonly setting: string; readonly cause: unknown },
): AppError {
  const place = URL.canParse(url) ? new URL(url).host : 'an address that is no URL';
  const reason = cause instanceof Error && cause.message !== '' ? cause.message : String(cause);
  return new AppError(
    'service_unavailable',
    `${what} at ${place} cannot be used: ${reason}. Start it, or correct ${setting}.`,
    { cause },
  );
}
