import type pg from 'pg';
import type { Prisma } from './generated/client.ts';

/** What the database holds at one moment, whatever is changed meanwhile. */
export interface Snapshot {
  /** As `Database.statement`. */
  statement<Row extends pg.QueryResultRow>(statement: Prisma.Sql): Promise<Row[]>;
  /** All rows of one statement, at most `size` at a time as they are taken, and one page ahead. */
  pages<Row extends pg.QueryResultRow>(statement: Prisma.Sql, size: number): AsyncGenerator<Row[]>;
}

// Whoever asks for pages takes all of them: the plan is to be the one that has the last row soonest, not the first.
const BEGIN = `begin isolation level repeatable read read only; set local cursor_tuple_fraction = 1`;

/** Runs `read` on a snapshot, by a connection of its own. */
export async function readSnapshot<T>(
  pool: pg.Pool,
  read: (snapshot: Snapshot) => Promise<T>,
): Promise<T> {
  const client = await pool.connect();
  // A connection that breaks fails the statement that runs on it, or the next one; nobody else need hear of it.
  const onError = (): void => {};
  client.on('error', onError);
  const release = (broken?: Error): void => {
    client.off('error', onError);
    client.release(broken);
  };
  try {
    await client.query(BEGIN);
    const result = await read(snapshotOf(client));
    await client.query('commit');
    release();
    return result;
  } catch (error) {
    await client.query('rollback').then(() => release(), release);
    throw error;
  }
}

function snapshotOf(client: pg.ClientBase): Snapshot {
  let cursors = 0;
  return {
    statement: async <Row extends pg.QueryResultRow>({ text, values }: Prisma.Sql) =>
      (await client.query<Row>(text, values)).rows,
    pages: async function* <Row extends pg.QueryResultRow>(
      { text, values }: Prisma.Sql,
      size: number,
    ) {
      cursors += 1;
      // What is left of a cursor ends with the transaction.
      const cursor = `pages_${cursors}`;
      await client.query(`declare ${cursor} no scroll cursor for ${text}`, values);
      const fetch = (): Promise<pg.QueryResult<Row>> =>
        client.query<Row>(`fetch ${size} from ${cursor}`);
      let next = fetch();
      try {
        for (;;) {
          const { rows } = await next;
          const isLast = rows.length < size;
          // PostgreSQL works on the next page while this one is made use of.
          if (!isLast) next = fetch();
          if (rows.length > 0) yield rows;
          if (isLast) return;
        }
      } finally {
        // A connection does one thing at a time, and who has enough does not hear whether the next page could be read.
        await next.catch(() => {});
      }
    },
  };
}
