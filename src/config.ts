import { randomBytes, randomUUID } from 'node:crypto';
import { existsSync, linkSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { z } from 'zod';
import { AppError } from './domain/errors.ts';
import { storageFault } from './storage-fault.ts';
import { ALLOW_NONE, type AllowList, parseAllowList } from './transport/http/address-policy.ts';
import { parseTrustedProxies, type TrustedProxies } from './trusted-proxies.ts';

const count = (fallback: number, min: number, max: number) =>
  z.coerce.number().int().min(min).max(max).default(fallback);

function readAllowList(text: string, context: z.RefinementCtx): AllowList {
  try {
    return parseAllowList(text);
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    context.addIssue({ code: 'custom', message: error.message });
    return z.NEVER;
  }
}

/** Empty settings have their default, so that nothing beyond public addresses needs a word. */
function readWebhookAllowList(text: string, context: z.RefinementCtx): AllowList {
  return text === 'none' ? ALLOW_NONE : readAllowList(text, context);
}

function readPublicUrl(text: string, context: z.RefinementCtx): string | null {
  if (text === '') return null;
  if (/^https?:\/\/[^?#\s]+$/.test(text) && URL.canParse(text)) return text.replace(/\/+$/, '');
  context.addIssue({ code: 'custom', message: 'must be a URL such as https://muster.example.com' });
  return z.NEVER;
}

/** Where internal receivers are. Without link-local and the like, where clouds tell a machine its credentials. */
const PRIVATE_NETWORKS = '10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,127.0.0.0/8,::1';

function readTrustedProxies(text: string, context: z.RefinementCtx): TrustedProxies {
  const proxies = parseTrustedProxies(text);
  if (proxies !== null) return proxies;
  context.addIssue({
    code: 'custom',
    message:
      'must be the number of proxies (1 to 10), or their addresses and networks, with commas',
  });
  return z.NEVER;
}

const key = z
  .string()
  .regex(/^[0-9a-f]{64}$/i, 'must be 64 hexadecimal digits (openssl rand -hex 32)');

/** Every setting of Muster. `.env.example` lists them with their defaults; a test holds the two together. */
const Settings = z.object({
  MUSTER_HOST: z.string().min(1).default('127.0.0.1'),
  MUSTER_PORT: count(2718, 0, 65_535),
  MUSTER_TRUST_PROXY: z.string().default('').transform(readTrustedProxies),
  MUSTER_DATA_DIR: z.string().min(1).default('.muster'),
  MUSTER_ADMIN_TOKEN: z.string().min(16, 'must have at least 16 characters').optional(),
  MUSTER_SECRET_KEY: key.optional(),
  MUSTER_NEW_SECRET_KEY: key.optional(),
  DATABASE_URL: z
    .string()
    .regex(/^postgres(ql)?:\/\/./, 'must begin with postgresql://')
    .optional(),
  REDIS_URL: z
    .string()
    .regex(/^rediss?:\/\/./, 'must begin with redis:// or rediss://')
    .optional(),
  MUSTER_LOG_LEVEL: z
    .enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'])
    .default('info'),
  MUSTER_UPLOAD_MAX_BYTES: count(20 * 1024 ** 3, 1, Number.MAX_SAFE_INTEGER),
  MUSTER_UNPACKED_MAX_BYTES: count(50 * 1024 ** 3, 1, Number.MAX_SAFE_INTEGER),
  MUSTER_UNPACKED_MAX_FILES: count(1_000_000, 1, 10_000_000),
  MUSTER_INDIRECT_ALLOW: z.string().default('').transform(readAllowList),
  MUSTER_WORKER_CONCURRENCY: count(10, 1, 1000),
  MUSTER_JOB_LEASE_SECONDS: count(30, 2, 3600),
  MUSTER_WORKER_METRICS_PORT: count(0, 0, 65_535),
  MUSTER_DATABASE_CONNECTIONS: count(10, 2, 1000),
  MUSTER_SSH_CONNECT_TIMEOUT_MS: count(10_000, 100, 600_000),
  MUSTER_STEP_TIMEOUT_MS: count(900_000, 1000, 86_400_000),
  MUSTER_PUBLIC_URL: z.string().default('').transform(readPublicUrl),
  MUSTER_WEBHOOK_ALLOW: z.string().default(PRIVATE_NETWORKS).transform(readWebhookAllowList),
  MUSTER_WEBHOOK_TIMEOUT_MS: count(10_000, 100, 120_000),
  MUSTER_WEBHOOK_RETRY_MS: count(15_000, 1, 3_600_000),
  MUSTER_JOB_RETENTION_DAYS: count(90, 1, 36_500),
  MUSTER_AUDIT_RETENTION_DAYS: count(0, 0, 36_500),
  MUSTER_TOKENS_PER_USER: count(100, 1, 100_000),
  MUSTER_EVENT_STREAMS: count(1000, 1, 100_000),
  MUSTER_OBSERVE_INTERVAL_SECONDS: count(300, 0, 86_400),
});

/** The settings as the rest of Muster sees them. */
export interface Config {
  readonly host: string;
  readonly port: number;
  /** Whose word is taken for where a request comes from. Empty: nobody's. */
  readonly trustedProxies: TrustedProxies;
  /** Absolute. Holds the depot, uploads under way, the secret key and, in embedded mode, PostgreSQL. */
  readonly dataDirectory: string;
  readonly adminToken: string | null;
  readonly logLevel: string;
  readonly upload: {
    readonly maxBytes: number;
    readonly maxUnpackedBytes: number;
    readonly maxEntries: number;
    /** Where an indirect upload may come from besides public addresses. */
    readonly indirectAllow: AllowList;
  };
  readonly workerConcurrency: number;
  /** How long a worker may be silent before its jobs are given to others. */
  readonly jobLeaseSeconds: number;
  /** Where a worker process answers /healthz, /readyz and /metrics; null: nowhere. */
  readonly workerMetricsPort: number | null;
  /** PostgreSQL connections of this process at most, beside the one that listens. */
  readonly databaseConnections: number;
  /** After so many days jobs that are over, and what deployments have printed, are deleted. */
  readonly jobRetentionDays: number;
  /** After so many days events of the audit are deleted; 0: never. */
  readonly auditRetentionDays: number;
  /** Tokens of one user that have not expired, beside those of the machine's configuration. */
  readonly maxTokensPerUser: number;
  /** Live streams that one process sends at once. */
  readonly maxEventStreams: number;
  /** Where people reach this Muster, without a slash at its end; null if nobody has said. */
  readonly publicUrl: string | null;
  readonly webhooks: {
    /** Where messages may be sent besides public addresses. */
    readonly allow: AllowList;
    /** For one attempt. */
    readonly timeoutMs: number;
    /** Before the second attempt; each further pause is four times as long. */
    readonly retryMs: number;
  };
  readonly sshConnectTimeoutMs: number;
  readonly stepTimeoutMs: number;
  /** How old what is known of a server may get before the worker looks again; 0: it never looks by itself. */
  readonly observeIntervalSeconds: number;
  /** The process's own PATH: where git is looked for, by the depot and by scripts on local servers. */
  readonly searchPath: string;
  /** `embedded`: own PostgreSQL and in-process queue. `distributed`: the given PostgreSQL and Redis. */
  readonly backends:
    | { readonly mode: 'embedded' }
    | { readonly mode: 'distributed'; readonly databaseUrl: string; readonly redisUrl: string };
  /** 32 bytes for AES-256-GCM. */
  readonly secretKey: Buffer;
  /** The file that the secret key is in; null if the setting gives it. */
  readonly secretKeyFile: string | null;
  /** What `npm run rotate-secret-key` is to put in its place. */
  readonly newSecretKey: Buffer | null;
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
  return {
    host: s.MUSTER_HOST,
    port: s.MUSTER_PORT,
    trustedProxies: s.MUSTER_TRUST_PROXY,
    dataDirectory,
    adminToken: s.MUSTER_ADMIN_TOKEN ?? null,
    logLevel: s.MUSTER_LOG_LEVEL,
    upload: {
      maxBytes: s.MUSTER_UPLOAD_MAX_BYTES,
      maxUnpackedBytes: s.MUSTER_UNPACKED_MAX_BYTES,
      maxEntries: s.MUSTER_UNPACKED_MAX_FILES,
      indirectAllow: s.MUSTER_INDIRECT_ALLOW,
    },
    workerConcurrency: s.MUSTER_WORKER_CONCURRENCY,
    jobLeaseSeconds: s.MUSTER_JOB_LEASE_SECONDS,
    workerMetricsPort: s.MUSTER_WORKER_METRICS_PORT === 0 ? null : s.MUSTER_WORKER_METRICS_PORT,
    databaseConnections: s.MUSTER_DATABASE_CONNECTIONS,
    jobRetentionDays: s.MUSTER_JOB_RETENTION_DAYS,
    auditRetentionDays: s.MUSTER_AUDIT_RETENTION_DAYS,
    maxTokensPerUser: s.MUSTER_TOKENS_PER_USER,
    maxEventStreams: s.MUSTER_EVENT_STREAMS,
    publicUrl: s.MUSTER_PUBLIC_URL,
    webhooks: {
      allow: s.MUSTER_WEBHOOK_ALLOW,
      timeoutMs: s.MUSTER_WEBHOOK_TIMEOUT_MS,
      retryMs: s.MUSTER_WEBHOOK_RETRY_MS,
    },
    sshConnectTimeoutMs: s.MUSTER_SSH_CONNECT_TIMEOUT_MS,
    stepTimeoutMs: s.MUSTER_STEP_TIMEOUT_MS,
    observeIntervalSeconds: s.MUSTER_OBSERVE_INTERVAL_SECONDS,
    searchPath: present['PATH'] ?? '/usr/local/bin:/usr/bin:/bin',
    backends:
      s.DATABASE_URL !== undefined && s.REDIS_URL !== undefined
        ? { mode: 'distributed', databaseUrl: s.DATABASE_URL, redisUrl: s.REDIS_URL }
        : { mode: 'embedded' },
    newSecretKey: parseSecretKey(s.MUSTER_NEW_SECRET_KEY ?? ''),
    ...provideSecretKey(s.MUSTER_SECRET_KEY, dataDirectory),
  };
}

/** The names of all settings, for the test that compares them with `.env.example`. */
export const SETTING_NAMES: readonly string[] = Object.keys(Settings.shape);

/** Reads a secret key as it is written: 64 hexadecimal digits. @returns null if it is something else */
export function parseSecretKey(text: string): Buffer | null {
  return /^[0-9a-f]{64}$/i.test(text.trim()) ? Buffer.from(text.trim(), 'hex') : null;
}

function provideSecretKey(
  setting: string | undefined,
  dataDirectory: string,
): Pick<Config, 'secretKey' | 'secretKeyFile'> {
  const file = join(dataDirectory, 'secret-key');
  let text = setting;
  try {
    // Others may pass through, for the account that runs the embedded PostgreSQL, but not look around.
    mkdirSync(dataDirectory, { recursive: true, mode: 0o711 });
    text ??= readOrWriteSecretKey(file);
  } catch (error) {
    throw storageFault(dataDirectory, error);
  }
  const secretKey = parseSecretKey(text);
  if (secretKey !== null) return { secretKey, secretKeyFile: setting === undefined ? file : null };
  throw new AppError(
    'invalid_input',
    `${file} does not hold a key of 64 hexadecimal digits. Restore it from a backup: without it the stored private keys cannot be read.`,
  );
}

function readOrWriteSecretKey(file: string): string {
  if (!existsSync(file)) {
    // Not named for the process: in containers every one may be number 1.
    const unfinished = `${file}.${randomUUID()}`;
    try {
      writeFileSync(unfinished, `${randomBytes(32).toString('hex')}\n`, {
        mode: 0o600,
        flag: 'wx',
      });
      // Of several processes that start at once on one data directory, only one gives the key; and it comes whole.
      linkSync(unfinished, file);
    } catch (error) {
      if (!existsSync(file)) throw error;
    } finally {
      rmSync(unfinished, { force: true });
    }
  }
  return readFileSync(file, 'utf8');
}
