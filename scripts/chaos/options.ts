import { parseArgs } from 'node:util';
import type { ChaosMode } from '../../test/chaos/lab.ts';

/** What is to be tried out. */
export interface ChaosOptions {
  readonly mode: ChaosMode;
  /** Random rounds. */
  readonly rounds: number;
  /** Of the first random round; each further one has the next. */
  readonly seed: number;
  /** Kills happen at each boundary whose number is a multiple of this; null: at none. */
  readonly everyPoint: number | null;
  readonly servers: number;
  readonly workers: number;
  readonly slices: number;
  /** The file that the results are written to; null: none. */
  readonly report: string | null;
}

/** What `--help` prints. */
export const HELP = `npm run chaos -- [options]

Kills and hinders what takes part in a deployment, and looks whether it ends as it would have.

  --mode MODE      distributed (default) or embedded
  --points WHICH   all (default) boundaries of a deployment, none, or a number: every so manieth
  --rounds N       random rounds after that (default 500)
  --seed N         of the first random round (default 1)
  --servers N      default 4
  --workers N      default 2
  --slices N       rolling slices of a deployment (default 2)
  --report FILE    write the results there, as Markdown
  --help           this text
`;

/**
 * Reads the command line.
 * @returns `help` if only the help is wanted
 * @throws {Error} with one sentence for the person, if an option is unknown or has a wrong value
 */
export function readOptions(args: readonly string[]): ChaosOptions | 'help' {
  const { values } = parseArgs({
    args: [...args],
    options: {
      mode: { type: 'string', default: 'distributed' },
      points: { type: 'string', default: 'all' },
      rounds: { type: 'string', default: '500' },
      seed: { type: 'string', default: '1' },
      servers: { type: 'string', default: '4' },
      workers: { type: 'string', default: '2' },
      slices: { type: 'string', default: '2' },
      report: { type: 'string' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) return 'help';
  return {
    mode: readMode(values.mode),
    rounds: readCount('--rounds', values.rounds, 0),
    seed: readCount('--seed', values.seed, 0),
    everyPoint: readPoints(values.points),
    servers: readCount('--servers', values.servers, 1),
    workers: readCount('--workers', values.workers, 1),
    slices: readCount('--slices', values.slices, 1),
    report: values.report ?? null,
  };
}

function readMode(text: string): ChaosMode {
  if (text === 'distributed' || text === 'embedded') return text;
  throw new Error(`There is no mode ${JSON.stringify(text)}; choose distributed or embedded.`);
}

function readPoints(text: string): number | null {
  if (text === 'all') return 1;
  if (text === 'none') return null;
  return readCount('--points', text, 1, 'all, none or ');
}

function readCount(option: string, text: string, least: number, or = ''): number {
  const count = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
  if (count >= least) return count;
  throw new Error(
    `${option} takes ${or}a whole number from ${least} on, not ${JSON.stringify(text)}.`,
  );
}
