import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { runDemo } from './demo.ts';
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
  const stopping = stopOnSignals();
  const terminal = createTerminal();
  try {
    await runDemo(options, terminal, stopping);
    return 0;
  } catch (error) {
    terminal.clearLive();
    if (stopping.aborted) return INTERRUPTED;
    report(error, join(options.directory, 'muster.log'));
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

function report(error: unknown, log: string): void {
  const step = error instanceof StepFailure ? `The step "${error.step}" failed. ` : '';
  console.error(`\n${step}${messageOf(error)}`);
  if (existsSync(log)) console.error(`Muster's log is in ${log}.`);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
