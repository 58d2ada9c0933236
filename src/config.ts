import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { z } from 'zod';
import { AppError } from './domain/errors.ts';

const count = (fallback: number, min: number, max: number) =>
  z.coerce.number().int().min(min).max(max).default(fallback);

/** Every setting of Muster. `.env.example` lists them with their defaults; a test holds the two together. */
const Settings = z.object({
  MUSTER_HOST: z.string().min(1).default('127.0.0.1'),
  MUSTER_PORT: count(2718, 0, 65_535),
  MUSTER_DATA_DIR: z.string().min(1).default('.muster'),
  MUSTER_ADMIN_TOKEN: z.string().min(16, 'must have at least 16 characters').optional(),
  MUSTER_SECRET_KEY: z
    .string()
    .regex(/^[0-9a-f]{64}$/i, 'must be 64 hexadecimal digits (openssl rand -hex 32)')
    .optional(),
  DATABASE_URL: z.string().min(1).optional(),
  REDIS_URL: z.string().min(1).optional(),
  MUSTER_LOG_LEVEL: z
    .enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'])
    .default('info'),
  MUSTER_UPLOAD_MAX_BYTES: count(20 * 1024 ** 3, 1, Number.MAX_SAFE_INTEGER),
  MUSTER_UNPACKED_MAX_BYTES: count(50 * 1024 ** 3, 1, Number.MAX_SAFE_INTEGER),
  MUSTER_UNPACKED_MAX_FILES: count(1_000_000, 1, 10_000_000),
  MUSTER_WORKER_CONCURRENCY: count(10, 1, 1000),
  MUSTER_DATABASE_CONNECTIONS: count(10, 2, 1000),
  MUSTER_SSH_CONNECT_TIMEOUT_MS: count(10_000, 100, 600_000),
  MUSTER_STEP_TIMEOUT_MS: count(900_000, 1000, 86_400_000),
});

/** The settings as the rest of Muster sees them. */
export interface Config {
  readonly host: string;
  readonly port: number;
  /** Absolute. Holds the depot, uploads under way, the secret key and, in embedded mode, PostgreSQL. */
  readonly dataDirectory: string;
  readonly adminToken: string | null;
  readonly logLevel: string;
  readonly upload: {
    readonly maxBytes: number;
    readonly maxUnpackedBytes: number;
    readonly maxEntries: number;
  };
  readonly workerConcurrency: number;
  /** PostgreSQL connections of this process at most, beside the one that listens. */
  readonly databaseConnections: number;
  readonly sshConnectTimeoutMs: number;
  readonly stepTimeoutMs: number;
  /** `embedded`: own PostgreSQL and in-process queue. `distributed`: the given PostgreSQL and Redis. */
  readonly backends:
    | { readonly mode: 'embedded' }
    | { readonly mode: 'distributed'; readonly databaseUrl: string; readonly redisUrl: string };
  /** 32 bytes for AES-256-GCM. */
  readonly secretKey: Buffer;
}

/**
 * Reads the settings. Unset and empty variables take their defaults.
 * Makes the data directory, and in it the secret key (mode 0600) where none is set.
 * @throws {AppError} `invalid_input` naming each wrong variable
 */
export function loadConfig(environment: NodeJS.ProcessEnv = process.env): Config {
  const present = Object.fromEntries(
    Object.entries(environment).filter(([, value]) => value !== undefined && value !== ''),
  );
  const parsed = Settings.safeParse(present);
  if (!parsed.success) {
    const problems = parsed.error.issues.map((i) => `${i.path.join('.')}: ${i.message}`).join('; ');
    throw new AppError(
      'invalid_input',
      `The settings are not valid: ${problems}. See .env.example.`,
    );
  }
  const s = parsed.data;
  if ((s.DATABASE_URL === undefined) !== (s.REDIS_URL === undefined)) {
    throw new AppError(
      'invalid_input',
      'Set both DATABASE_URL and REDIS_URL to use your own PostgreSQL and Redis, or neither for the embedded mode.',
    );
  }
  const dataDirectory = resolve(s.MUSTER_DATA_DIR);
  // Others may pass through, for the account that runs the embedded PostgreSQL, but not look around.
  mkdirSync(dataDirectory, { recursive: true, mode: 0o711 });
  return {
    host: s.MUSTER_HOST,
    port: s.MUSTER_PORT,
    dataDirectory,
    adminToken: s.MUSTER_ADMIN_TOKEN ?? null,
    logLevel: s.MUSTER_LOG_LEVEL,
    upload: {
      maxBytes: s.MUSTER_UPLOAD_MAX_BYTES,
      maxUnpackedBytes: s.MUSTER_UNPACKED_MAX_BYTES,
      maxEntries: s.MUSTER_UNPACKED_MAX_FILES,
    },
    workerConcurrency: s.MUSTER_WORKER_CONCURRENCY,
    databaseConnections: s.MUSTER_DATABASE_CONNECTIONS,
    sshConnectTimeoutMs: s.MUSTER_SSH_CONNECT_TIMEOUT_MS,
    stepTimeoutMs: s.MUSTER_STEP_TIMEOUT_MS,
    backends:
      s.DATABASE_URL !== undefined && s.REDIS_URL !== undefined
        ? { mode: 'distributed', databaseUrl: s.DATABASE_URL, redisUrl: s.REDIS_URL }
        : { mode: 'embedded' },
    secretKey: secretKey(s.MUSTER_SECRET_KEY, dataDirectory),
  };
}

/** The names of all settings, for the test that compares them with `.env.example`. */
export const SETTING_NAMES: readonly string[] = Object.keys(Settings.shape);

function secretKey(setting: string | undefined, dataDirectory: string): Buffer {
  if (setting !== undefined) return Buffer.from(setting, 'hex');
  const file = join(dataDirectory, 'secret-key');
  if (!existsSync(file)) {
    try {
      // `wx`: of several processes that start at once on one data directory, only one writes the key.
      writeFileSync(file, `${randomBytes(32).toString('hex')}\n`, { mode: 0o600, flag: 'wx' });
    } catch (error) {
      if (!existsSync(file)) throw error;
    }
  }
  const key = Buffer.from(readFileSync(file, 'utf8').trim(), 'hex');
  if (key.length !== 32) {
    throw new AppError(
      'invalid_input',
      `${file} does not hold a key of 64 hexadecimal digits. Restore it from a backup: without it the stored private keys cannot be read.`,
    );
  }
  return key;
}
