import { existsSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';
import type { Logger } from 'pino';
import { buildApp } from './api/app.ts';
import type { Api } from './api/fastify-types.ts';
import { buildMonitoringApp } from './api/monitoring-app.ts';
import { composeMuster, type Muster } from './compose.ts';
import { type Config, loadConfig } from './config.ts';
import { AppError } from './domain/errors.ts';
import { createLog } from './log.ts';
import { ensureAdmin } from './services/authentication.ts';

/** What a process does: answer HTTP, take jobs, or both. */
export interface Roles {
  readonly api: boolean;
  readonly worker: boolean;
}

/** Requests under way may take this long to end, such as an upload; then their connections are closed. */
const REQUESTS_END_MS = 20_000;
/** More than jobs are given to come to a safe point; docs/operations.md tells to give Muster longer still. */
const FORCE_AFTER_MS = 45_000;

/**
 * How much the heap may grow before it is cleared again, in percent of what lives in it. V8 by itself goes by the memory of
 * the machine and lets it grow to several times that, which with a thousand servers is 200 MB for nothing.
 */
const HEAP_GROWING_PERCENT = 60;

/**
 * Runs a Muster process until it is told to stop (SIGINT or SIGTERM; a second one ends it at once).
 * Standard output has one line, once it can serve; logs go to standard error. The exit code is 0 after a stop that was
 * asked for, 1 if it could not start or did not end in time, 130 after a second signal.
 */
export async function runProcess(roles: Roles): Promise<void> {
  setFlagsFromString(`--heap-growing-percent=${HEAP_GROWING_PERCENT}`);
  await runToExit('muster cannot start', async () => {
    const config = loadSettings();
    const log = createLog(config.logLevel);
    await serveUntilStopped(roles, config, log);
  });
}

/** Does something and ends the process: with 0, or with 1 and, after `failure`, one sentence on standard error. */
export async function runToExit(failure: string, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    // A sentence is for an operator; what nobody foresaw is a bug, and its stack says where.
    const text = error instanceof AppError ? error.message : stackOf(error);
    process.stderr.write(`${failure}: ${text}\n`);
    process.exit(1);
  }
  process.exit(0);
}

/** The settings of the environment and of a file `.env` in the working folder; the environment wins. */
export function loadSettings(): Config {
  if (existsSync('.env')) process.loadEnvFile('.env');
  return loadConfig();
}

async function serveUntilStopped(roles: Roles, config: Config, log: Logger): Promise<void> {
  const stopping = stopOnSignal();
  const muster = await composeMuster(config, log);
  try {
    if (roles.worker) muster.startWorker();
    const app = roles.api ? await openApi(muster) : await openMonitoring(muster);
    await stopping;
    log.info('muster stops');
    await Promise.all([muster.drain(), app === null ? null : closeApp(app)]);
  } finally {
    await muster.close();
  }
  log.info('muster has stopped');
}

async function openApi(muster: Muster): Promise<Api> {
  const { config } = muster.services;
  await ensureAdmin(muster.services);
  const app = await buildApp(muster);
  const address = await listen(app, config.host, config.port, 'MUSTER_PORT');
  process.stdout.write(`muster listening on ${address}\n`);
  return app;
}

async function openMonitoring(muster: Muster): Promise<Api | null> {
  const { host, workerMetricsPort: port } = muster.services.config;
  const app = port === null ? null : await buildMonitoringApp(muster);
  if (app !== null && port !== null) await listen(app, host, port, 'MUSTER_WORKER_METRICS_PORT');
  process.stdout.write('muster worker ready\n');
  return app;
}

async function listen(app: Api, host: string, port: number, setting: string): Promise<string> {
  try {
    return await app.listen({ host, port });
  } catch (cause) {
    if (!(cause instanceof Error) || !('code' in cause)) throw cause;
    throw new AppError(
      'service_unavailable',
      `Muster cannot listen on ${host}:${port} (${cause.code}). ${cause.code === 'EADDRINUSE' ? `Another program does; end it, or choose another ${setting}.` : `Choose another MUSTER_HOST or ${setting}.`}`,
      { cause },
    );
  }
}

/** Takes no more connections, lets requests under way end, and closes what has not ended in time. */
async function closeApp(app: Api): Promise<void> {
  const cut = setTimeout(() => app.server.closeAllConnections(), REQUESTS_END_MS);
  await app.close();
  clearTimeout(cut);
}

function stackOf(error: unknown): string {
  return String(error instanceof Error ? error.stack : error);
}

/** Resolves at the first signal; ends the process at the second, or if closing takes too long. */
function stopOnSignal(): Promise<void> {
  return new Promise((resolve) => {
    let asked = false;
    const stop = (): void => {
      if (asked) process.exit(130);
      asked = true;
      setTimeout(() => process.exit(1), FORCE_AFTER_MS).unref();
      resolve();
    };
    process.on('SIGINT', stop);
    process.on('SIGTERM', stop);
  });
}
