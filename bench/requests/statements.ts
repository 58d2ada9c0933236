import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { BenchMuster } from '../muster/muster.ts';

/** A statement that was sent to PostgreSQL, with its parameters as text. */
export interface Statement {
  readonly text: string;
  readonly values: readonly (string | null)[];
}

const SETTLE_MS = 300;
const LINE_START = /^\d{4}-\d\d-\d\d [\d:.]+ \S+ \[(\d+)\](?: \S+)? (\w+): {2}/;

/**
 * What PostgreSQL is asked during a request, read from its own log, without what Muster asks by itself meanwhile.
 */
export async function recordStatements(
  muster: BenchMuster,
  request: () => Promise<unknown>,
): Promise<Statement[]> {
  const [folder] = await muster.sql<{ path: string }>(
    `select current_setting('data_directory') as path`,
  );
  const log = join(folder?.path ?? '', '../server.log');
  await setLogging(muster, 'all');
  await sleep(SETTLE_MS);
  const { size } = await stat(log);
  await request();
  await sleep(SETTLE_MS);
  await setLogging(muster, 'none');
  const text = (await readFile(log)).subarray(size).toString('utf8');
  return readStatements(text);
}

async function setLogging(muster: BenchMuster, value: 'all' | 'none'): Promise<void> {
  await muster.sql(`alter system set log_statement = '${value}'`);
  await muster.sql('select pg_reload_conf()');
}

function readStatements(log: string): Statement[] {
  const entries: { pid: string; level: string; text: string }[] = [];
  for (const line of log.split('\n')) {
    const [start, pid, level] = LINE_START.exec(line) ?? [];
    const last = entries.at(-1);
    if (start !== undefined && pid !== undefined && level !== undefined) {
      entries.push({ pid, level, text: line.slice(start.length) });
    } else if (last !== undefined) last.text += `\n${line}`;
  }
  const statements: Statement[] = [];
  for (const [i, { pid, level, text }] of entries.entries()) {
    const [, sent] = /^(?:statement|execute [^:]*): ([\s\S]*)$/.exec(text) ?? [];
    if (level !== 'LOG' || sent === undefined || isOfOthers(sent)) continue;
    const next = entries[i + 1];
    const detail = next?.pid === pid && next.level === 'DETAIL' ? next.text : '';
    statements.push({ text: sent, values: readParameters(detail) });
  }
  return statements;
}

/** What the bench asks while a request is recorded, and what Muster asks now and then by itself. */
function isOfOthers(statement: string): boolean {
  return /log_statement|pg_reload_conf|listen |from jobs|webhook|leases/i.test(statement);
}

/** `Parameters: $1 = 'a', $2 = NULL` */
function readParameters(detail: string): (string | null)[] {
  return [...detail.matchAll(/\$\d+ = (?:'((?:[^']|'')*)'|NULL)/g)].map(([, value]) =>
    value === undefined ? null : value.replaceAll("''", "'"),
  );
}
