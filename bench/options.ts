import { parseArgs } from 'node:util';
import { BUILD_KINDS, type BuildKind } from './builds/build-kind.ts';

/** How the benchmarks are to be run. */
export interface BenchOptions {
  /** Only what needs no peer, with fewer repetitions; nothing is written. */
  readonly quick: boolean;
  /** Numbers of rows; null: all of them. */
  readonly rows: readonly number[] | null;
  /** Of rows 1 to 5. */
  readonly servers: number;
  readonly build: BuildKind;
  /** How often each thing is measured. */
  readonly repetitions: number;
  /** Whether the results become those of bench/RESULTS.md. */
  readonly write: boolean;
}

const DEFAULT_SERVERS = 20;
const DEFAULT_REPETITIONS = 5;
const QUICK_REPETITIONS = 3;

/** What `--help` prints. */
export const HELP = `npm run bench -- [options]

Measures Muster beside other programs on this machine and compares with bench/RESULTS.md.

  --quick            only what needs no other program, under five minutes; nothing is written
  --rows 1,3         only these rows
  --servers N        how many servers rows 1 to 5 have (default ${DEFAULT_SERVERS})
  --build KIND       ${BUILD_KINDS.join(', ')} (default default)
  --repetitions N    how often each thing is measured (default ${DEFAULT_REPETITIONS})
  --dry              write nothing
  --help             this text

With other servers or another build than the default nothing is written.
`;

/**
 * Reads the command line.
 * @returns `help` if only the help is wanted
 * @throws {Error} with one sentence for the person
 */
export function readOptions(args: readonly string[]): BenchOptions | 'help' {
  const { values } = parseArgs({
    args: [...args],
    options: {
      quick: { type: 'boolean', default: false },
      rows: { type: 'string' },
      servers: { type: 'string', default: String(DEFAULT_SERVERS) },
      build: { type: 'string', default: 'default' },
      repetitions: { type: 'string' },
      dry: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) return 'help';
  const { quick } = values;
  const servers = readCount('--servers', values.servers);
  const build = BUILD_KINDS.find((kind) => kind === values.build);
  if (build === undefined) {
    throw new Error(`There is no build ${values.build}; choose one of ${BUILD_KINDS.join(', ')}.`);
  }
  const repetitions =
    values.repetitions === undefined
      ? quick
        ? QUICK_REPETITIONS
        : DEFAULT_REPETITIONS
      : readCount('--repetitions', values.repetitions);
  const isUsual = !quick && servers === DEFAULT_SERVERS && build === 'default';
  return {
    quick,
    rows: values.rows?.split(',').map((text) => readCount('--rows', text)) ?? null,
    servers,
    build,
    repetitions,
    write: isUsual && !values.dry,
  };
}

function readCount(option: string, text: string): number {
  const count = /^\d{1,5}$/.test(text.trim()) ? Number(text) : 0;
  if (count < 1) throw new Error(`${option} takes whole numbers from 1 on, not ${text}.`);
  return count;
}
