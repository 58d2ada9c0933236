import { fileURLToPath } from 'node:url';
import { openBench } from './bench.ts';
import { describeMachine, describeSource } from './machine.ts';
import { type BenchOptions, HELP, readOptions } from './options.ts';
import {
  findRegressions,
  type Measured,
  readFigures,
  rowSummary,
  writeResults,
} from './results.ts';
import { isMet, type Row } from './row.ts';
import { ROW_GROUPS } from './rows.ts';

// tsx bench/main.ts [options]; see docs/benchmarks.md

const RESULTS = fileURLToPath(new URL('RESULTS.md', import.meta.url));
const USAGE_ERROR = 2;

// Whatever a broken-off row has left open must not keep this process.
process.exit(await main(process.argv.slice(2)));

async function main(args: readonly string[]): Promise<number> {
  let options: BenchOptions | 'help';
  try {
    options = readOptions(args);
  } catch (error) {
    console.error(`${messageOf(error)}\n\n${HELP}`);
    return USAGE_ERROR;
  }
  if (options === 'help') {
    console.log(HELP);
    return 0;
  }
  const stopping = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => stopping.abort(new Error('The benchmarks were stopped.')));
  }
  const numbers = ROW_GROUPS.flat().map(({ number }) => number);
  const unknown = options.rows?.find((number) => !numbers.includes(number));
  if (unknown !== undefined) {
    console.error(
      `There is no row ${unknown}; choose from ${numbers.toSorted((a, b) => a - b).join(', ')}.`,
    );
    return USAGE_ERROR;
  }
  const kept = await readFigures(RESULTS);
  const { measured, failed } = await measureAll(options, stopping.signal);
  tell(measured, findRegressions(measured, kept), failed);
  return failed.length === 0 ? 0 : 1;
}

/** Runs the rows that are asked for, and keeps what is measured at once: a later row may fail. */
async function measureAll(
  options: BenchOptions,
  signal: AbortSignal,
): Promise<{ measured: Measured[]; failed: string[] }> {
  const machine = await describeMachine();
  const measured: Measured[] = [];
  const failed: string[] = [];
  for (const group of ROW_GROUPS) {
    const rows = group.filter((row) => isWanted(row, options));
    if (rows.length === 0 || signal.aborted) continue;
    const bench = await openBench(options, signal);
    try {
      for (const row of rows) {
        bench.say(`row ${row.number}: ${row.work}`);
        try {
          signal.throwIfAborted();
          const result = await row.run(bench);
          const one = { row, result, date: today(), source: await describeSource() };
          measured.push(one);
          console.log(`\n${rowSummary(one)}\n`);
          if (options.write) await writeResults(RESULTS, { rows: [one], machine });
        } catch (error) {
          failed.push(`Row ${row.number} could not be measured: ${messageOf(error)}`);
          bench.say(failed.at(-1) ?? '');
        }
      }
    } finally {
      await bench.close();
    }
  }
  return { measured, failed };
}

function isWanted({ number, needsPeers }: Row, { rows, quick }: BenchOptions): boolean {
  return rows === null ? !(quick && needsPeers) : rows.includes(number);
}

function tell(
  measured: readonly Measured[],
  regressions: readonly string[],
  failed: readonly string[],
): void {
  const figures = measured.flatMap(({ result }) => result.figures);
  const met = figures.filter((figure) => isMet(figure) === true).length;
  console.log(`${met} of ${figures.length} goals are met.`);
  for (const line of regressions) console.log(`Worse than in bench/RESULTS.md. ${line}`);
  for (const line of failed) console.log(line);
}

function today(): string {
  return new Date().toISOString().slice(0, 10);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
