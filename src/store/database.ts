import { PrismaPg } from '@prisma/adapter-pg';
import pg from 'pg';
import { AppError } from '../domain/errors.ts';
import { Prisma, PrismaClient } from './generated/client.ts';
import { readSnapshot, type Snapshot } from './snapshot.ts';

/** What store functions run on: the database, or a transaction of it. */
export type Db = Prisma.TransactionClient;

/** Of the database only what runs single statements. */
export type Statements = Pick<Database, 'statement'>;

/** The database with its pool of connections. Only the store looks inside. */
export interface Database {
  readonly db: Db;
  /**
   * Runs `work` in one transaction: all of it is kept, or, if it throws, nothing.
   * Every store call inside must be given the `tx`.
   */
  transaction<T>(work: (tx: Db) => Promise<T>): Promise<T>;
  /**
   * Runs `read` on what the database holds at one moment. Past Prisma's client, as it is for what has many rows. It holds
   * a connection, so it must not wait for anybody but the database.
   */
  snapshot<T>(read: (snapshot: Snapshot) => Promise<T>): Promise<T>;
  /**
   * Runs one statement, which is a transaction by itself. Past Prisma's client, which for a small statement takes more
   * time than PostgreSQL does: for what is done with every request, or often.
   * @returns rows as `pg` reads them: `bigint` as text, JSON as what it stands for
   */
  statement<Row extends pg.QueryResultRow>(statement: Prisma.Sql): Promise<Row[]>;
  /** @throws {AppError} `service_unavailable` if PostgreSQL does not answer */
  ping(): Promise<void>;
  /** The connections of this process: open, of these idle, and how many wait for one. */
  poolStatistics(): { readonly open: number; readonly idle: number; readonly waiting: number };
  close(): Promise<void>;
}

export interface DatabaseOptions {
  readonly databaseUrl: string;
  /** Connections of this process at most. Default 10. */
  readonly maxConnections?: number;
  /**
   * How long a transaction may wait for its own process before PostgreSQL ends it: one that is frozen, or whose machine
   * is gone, must not keep rows from those who take over. Default 30,000.
   */
  readonly idleTransactionMs?: number;
  /** How long PostgreSQL may take to answer a new connection. Default 5000. */
  readonly connectMs?: number;
  /** How long to wait for a connection while others use them all. Default 20,000. */
  readonly busyMs?: number;
}

export function openDatabase(options: DatabaseOptions): Database {
  const { idleTransactionMs = 30_000, connectMs = 5000, busyMs = 20_000 } = options;
  const pool = new pg.Pool({
    connectionString: options.databaseUrl,
    max: options.maxConnections ?? 10,
    Client: clientThatConnectsWithin(connectMs),
    connectionTimeoutMillis: busyMs,
    idle_in_transaction_session_timeout: idleTransactionMs,
  });
  const adapter = new PrismaPg(pool, {
    disposeExternalPool: true,
    // An idle connection that breaks is replaced by the pool; the next query reports what matters.
    onPoolError: () => {},
    onConnectionError: () => {},
  });
  const client = new PrismaClient({ adapter, errorFormat: 'minimal' });
  const db = client.$extends({
    query: {
      $allOperations: async ({ args, query }) => {
        try {
          return await query(args);
        } catch (error) {
          throw translateError(error);
        }
      },
    },
  });
  return {
    // The extension changes no types that the store uses.
    db: db as unknown as Db,
    transaction: async <T>(work: (tx: Db) => Promise<T>) => {
      try {
        return await db.$transaction((tx) => work(tx as unknown as Db), {
          // What the pool has not given by then it has refused.
          maxWait: busyMs + connectMs,
          timeout: 60_000,
        });
      } catch (error) {
        throw translateError(error);
      }
    },
    snapshot: async (read) => {
      try {
        return await readSnapshot(pool, read);
      } catch (error) {
        throw translateError(error);
      }
    },
    statement: async <Row extends pg.QueryResultRow>({ text, values }: Prisma.Sql) => {
      try {
        return (await pool.query<Row>(text, values)).rows;
      } catch (error) {
        throw translateError(error);
      }
    },
    ping: async () => {
      await db.$queryRaw`select 1`;
    },
    poolStatistics: () => ({
      open: pool.totalCount,
      idle: pool.idleCount,
      waiting: pool.waitingCount,
    }),
    close: () => client.$disconnect(),
  };
}

/**
 * The pool has one limit for two waits. A connection that others use comes free in a moment, however many wait; a
 * PostgreSQL that does not answer is to be told of soon.
 */
function clientThatConnectsWithin(connectMs: number): typeof pg.Client {
  return class extends pg.Client {
    constructor(config?: pg.ClientConfig) {
      super({ ...config, connectionTimeoutMillis: connectMs });
    }
  };
}

/** The connections of this database's user beside the caller's own: other processes of Muster. */
export async function countOtherSessions(db: Db): Promise<number> {
  const [row] = await db.$queryRaw<{ count: number }[]>`
    select count(*)::int as count from pg_stat_activity
     where datname = current_database() and usename = current_user
       and pid <> pg_backend_pid() and backend_type = 'client backend'`;
  return row?.count ?? 0;
}

function isUniqueViolation(error: unknown): boolean {
  return error instanceof Prisma.PrismaClientKnownRequestError && error.code === 'P2002';
}

/** Runs `insert`, and throws `conflict()` instead if a row with the same unique key came first. */
export async function insertUnique<T>(insert: Promise<T>, conflict: () => AppError): Promise<T> {
  try {
    return await insert;
  } catch (error) {
    throw isUniqueViolation(error) ? conflict() : error;
  }
}

const UNREACHABLE_CODES = new Set([
  'P1000',
  'P1001',
  'P1002',
  'P1003',
  'P1008',
  'P1011',
  'P1017',
  // A transaction that could not begin, or whose connection broke: nothing of it was kept.
  'P2028',
  'P2037',
]);
const FOREIGN_KEY_VIOLATION = '23503';
/** What a row names is gone, or the row itself. */
const OVERTAKEN_CODES = new Set(['P2003', 'P2025', FOREIGN_KEY_VIOLATION]);
/** Two transactions have waited for each other. */
const DEADLOCK_TEXT = /40P01|deadlock detected/;
/** The same in PostgreSQL's own words, for what does not go by Prisma. Source: its manual, appendix A. */
const UNREACHABLE_STATES = /^(?:08|53300|57P0)/;
/** What `pg` says when no connection came free in time. */
const BUSY_TEXT = /timeout exceeded when trying to connect/;
const UNREACHABLE_TEXT =
  /ECONNREFUSED|ECONNRESET|ENOTFOUND|EPIPE|Connection terminated|terminating connection|not queryable|Client was closed|the database system is|timeout expired|server closed the connection|Can't reach database|ConnectionClosed|DatabaseNotReachable/i;

function translateError(error: unknown): unknown {
  if (error instanceof AppError) return error;
  const code =
    error instanceof Prisma.PrismaClientKnownRequestError
      ? error.code
      : error instanceof Prisma.PrismaClientInitializationError
        ? (error.errorCode ?? 'P1001')
        : error instanceof pg.DatabaseError
          ? (error.code ?? '')
          : '';
  const text = error instanceof Error ? `${error.message} ${causeText(error)}` : '';
  if (OVERTAKEN_CODES.has(code)) {
    return new AppError(
      'conflict',
      'Something that this is about was changed or deleted at the same moment. Nothing was changed; look at the present state and try again.',
      { cause: error, retryable: true },
    );
  }
  if (code === 'P2034' || DEADLOCK_TEXT.test(text)) {
    return new AppError(
      'service_unavailable',
      'This and something else waited for each other, so it was undone. Nothing was changed; try again.',
      { cause: error, retryable: true },
    );
  }
  if (code === 'P2024' || BUSY_TEXT.test(text)) {
    return new AppError(
      'service_unavailable',
      'Too much is asked of the database at once, and no connection came free in time. Nothing was changed; try again.',
      { cause: error, retryable: true },
    );
  }
  if (UNREACHABLE_CODES.has(code) || UNREACHABLE_STATES.test(code) || UNREACHABLE_TEXT.test(text)) {
    return new AppError(
      'service_unavailable',
      'The database does not answer. Nothing was changed; try again when it is back (see /readyz).',
      { cause: error, retryable: true },
    );
  }
  return error;
}

function causeText(error: Error): string {
  const meta = 'meta' in error ? JSON.stringify(error.meta) : '';
  return `${meta} ${error.cause instanceof Error ? error.cause.message : ''}`;
}
