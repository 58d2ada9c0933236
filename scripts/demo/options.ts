import { resolve } from 'node:path';
import { parseArgs } from 'node:util';

/** How the demo is to be run. */
export interface DemoOptions {
  /** End by itself when all is done. */
  readonly once: boolean;
  /** Folders instead of sshd, also where sshd could be had. */
  readonly local: boolean;
  /** Show each HTTP request. */
  readonly verbose: boolean;
  /** Where everything of the demo lies; absolute. */
  readonly directory: string;
  /** Null: 2718, or any free one if that is taken. */
  readonly port: number | null;
}

/** What `--help` prints. */
export const HELP = `npm run demo -- [options]

Starts Muster with a PostgreSQL of its own and five servers on this machine, and then deploys
two builds to them over the HTTP API. Muster then goes on running, to be tried out.

  --once             stop when all is done; exit code 0 if every step and check succeeded
  --local            let a folder stand for each server, even where real sshd servers are possible
  --verbose          show each HTTP request
  --directory DIR    where the demo keeps everything, emptied first (default .muster/demo)
  --port PORT        default 2718, or any free one if that is taken
  --help             this text

NO_COLOR=1 turns the colors off.
`;

/**
 * Reads the command line.
 * @returns `help` if only the help is wanted
 * @throws {Error} with one sentence for the person, if an option is unknown or has a wrong value
 */
export function readOptions(args: readonly string[]): DemoOptions | 'help' {
  const { values } = parseArgs({
    args: [...args],
    options: {
      once: { type: 'boolean', default: false },
      local: { type: 'boolean', default: false },
      verbose: { type: 'boolean', default: false },
      directory: { type: 'string', default: '.muster/demo' },
      port: { type: 'string' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) return 'help';
  const { once, local, verbose } = values;
  return {
    once,
    local,
    verbose,
    directory: resolve(values.directory),
    port: readPort(values.port),
  };
}

function readPort(text: string | undefined): number | null {
  if (text === undefined) return null;
  const port = /^\d{1,5}$/.test(text) ? Number(text) : Number.NaN;
  if (!(port <= 65_535)) {
    throw new Error(`The port ${JSON.stringify(text)} is not a number from 0 to 65535.`);
  }
  return port;
}
