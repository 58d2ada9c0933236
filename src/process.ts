import { existsSync } from 'node:fs';
import { pino } from 'pino';
import { buildApp } from './api/app.ts';
import type { Api } from './api/fastify-types.ts';
import { composeMuster, type Muster } from './compose.ts';
import { type Config, loadConfig } from './config.ts';
import { AppError } from './domain/errors.ts';
import { ensureAdmin } from './services/authentication.ts';

/** What a process does: answer HTTP, take jobs, or both. */
export interface Roles {
  readonly api: boolean;
  readonly worker: boolean;
}

const FORCE_AFTER_MS = 45_000;

/**
 * Runs a Muster process until it is told to stop (SIGINT or SIGTERM; a second one ends it at once).
 * Standard output has one line, once it can serve; logs go to standard error.
 */
export async function runProcess(roles: Roles): Promise<void> {
  try {
    await start(roles);
  } catch (error) {
    const text =
      error instanceof AppError
        ? error.message
        : String(error instanceof Error ? error.stack : error);
    process.stderr.write(`muster cannot start: ${text}\n`);
    process.exit(1);
  }
}

async function start(roles: Roles): Promise<void> {
  if (existsSync('.env')) process.loadEnvFile('.env');
  const config = loadConfig();
  const log = pino({ level: config.logLevel, base: null }, pino.destination(2));
  const stopping = stopOnSignal();
  const muster = await composeMuster(config, log);
  try {
    if (roles.worker) muster.startWorker();
    const closeApi = roles.api ? await serve(muster) : announceWorker();
    await stopping;
    log.info('muster stops');
    await closeApi();
  } finally {
    await muster.close();
  }
  process.exit(0);
}

async function serve(muster: Muster): Promise<() => Promise<void>> {
  const { config } = muster.services;
  await ensureAdmin(muster.services);
  const app = await buildApp({ services: muster.services, checkHealth: muster.checkHealth });
  const address = await listen(app, config);
  process.stdout.write(`muster listening on ${address}\n`);
  return () => app.close();
}

async function listen(app: Api, { host, port }: Config): Promise<string> {
  try {
    return await app.listen({ host, port });
  } catch (cause) {
    if (!(cause instanceof Error) || !('code' in cause)) throw cause;
    throw new AppError(
      'service_unavailable',
      `Muster cannot listen on ${host}:${port} (${cause.code}). ${cause.code === 'EADDRINUSE' ? 'Another program does; end it, or choose another MUSTER_PORT.' : 'Choose another MUSTER_HOST or MUSTER_PORT.'}`,
      { cause },
    );
  }
}

function announceWorker(): () => Promise<void> {
  process.stdout.write('muster worker ready\n');
  return () => Promise.resolve();
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
