import { runDemo } from './demo.ts';
import { openDemoDirectory } from './demo-directory.ts';
import { type DemoOptions, HELP, readOptions } from './options.ts';
import { StepFailure } from './progress.ts';
import { createTerminal } from './terminal.ts';

const USAGE_ERROR = 2;
/** What a shell gives for a program that Ctrl-C has ended. */
const INTERRUPTED = 130;

process.exitCode = await main(process.argv.slice(2));

async function main(args: readonly string[]): Promise<number> {
  let options: DemoOptions | 'help';
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
  const signal = stopOnSignals();
  const terminal = createTerminal();
  let log: string | undefined;
  try {
    const directory = await openDemoDirectory(options.directory);
    log = directory.log;
    await runDemo(options, directory, { terminal, signal });
    return 0;
  } catch (error) {
    terminal.clearLive();
    if (signal.aborted) return INTERRUPTED;
    const step = error instanceof StepFailure ? `The step "${error.step}" failed. ` : '';
    console.error(`\n${step}${messageOf(error)}`);
    if (log !== undefined) console.error(`Muster's log is in ${log}.`);
    return 1;
  }
}

/** The first signal ends the demo in good order. Further ones change nothing: each wait on the way is bounded. */
function stopOnSignals(): AbortSignal {
  const stopping = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => stopping.abort(new Error('The demo was stopped.')));
  }
  return stopping.signal;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
