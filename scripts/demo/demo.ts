import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createApi } from './api.ts';
import { type DemoDirectory, openDemoDirectory } from './demo-directory.ts';
import { type MusterProcess, startMuster } from './muster-process.ts';
import type { DemoOptions } from './options.ts';
import { createProgress, type Progress } from './progress.ts';
import { chooseServerKind } from './servers.ts';
import { tellStory } from './story.ts';
import type { Terminal } from './terminal.ts';

/**
 * The whole demo, from an empty folder to a folder that is gone; after a failure the folder stays, for the logs.
 * @param signal ends it at any point; everything that was started is ended first
 * @throws {StepFailure} for a step that failed, the signal's reason, or any other error of starting up
 */
export async function runDemo(
  options: DemoOptions,
  terminal: Terminal,
  signal: AbortSignal,
): Promise<void> {
  const progress = createProgress(terminal);
  const directory = await openDemoDirectory(options.directory);
  const closing: (() => Promise<void>)[] = [];
  let isGood = false;
  try {
    terminal.print(terminal.paint('bold', 'Muster demo'));
    terminal.print(
      'Two builds for five servers: everything below is done by requests to the HTTP API.',
    );
    const muster = await start(options, progress, { directory, signal });
    closing.push(() => stop(muster, progress));
    const failing = new AbortController();
    void muster.ended.then((how) => failing.abort(new Error(`Muster ended with ${how}.`)));
    const ending = AbortSignal.any([signal, failing.signal]);

    const tokenFile = join(directory.data, 'admin-token');
    const api = createApi({
      address: muster.address,
      token: (await readFile(tokenFile, 'utf8')).trim(),
      signal: ending,
      onRequest: options.verbose ? tellRequests(terminal) : () => undefined,
    });
    const serverKind = await chooseServerKind(options.local);
    await tellStory({ api, progress, serverKind, directory: directory.path, closing });
    if (!options.once) {
      tellHowToGoOn(terminal, muster.address, tokenFile);
      await aborted(ending);
      // Ctrl-C is the good end; that Muster ended by itself is not.
      if (!signal.aborted) throw failing.signal.reason;
    }
    isGood = true;
  } finally {
    for (let end = closing.pop(); end !== undefined; end = closing.pop()) await end();
    await (isGood || signal.aborted ? directory.remove() : directory.release());
  }
}

async function start(
  { port }: DemoOptions,
  progress: Progress,
  { directory, signal }: { directory: DemoDirectory; signal: AbortSignal },
): Promise<MusterProcess> {
  progress.heading('Start');
  return await progress.step('Muster', async (tell) => {
    tell('starting, with a PostgreSQL of its own');
    const { data, log } = directory;
    const muster = await startMuster({ data, log, port, signal });
    await directory.note({ address: muster.address, muster: muster.mark });
    tell(`${muster.address}, with a PostgreSQL of its own`);
    return muster;
  });
}

/** Polling is told once. */
function tellRequests(terminal: Terminal): (request: string) => void {
  let last = '';
  return (request) => {
    if (request !== last) terminal.print(terminal.paint('dim', `      ${request}`));
    last = request;
  };
}

async function stop(muster: MusterProcess, { terminal, step }: Progress): Promise<void> {
  terminal.print();
  await step('Stop', async (tell) => {
    tell('Muster, its PostgreSQL and the servers');
    await muster.stop();
  });
}

function tellHowToGoOn(terminal: Terminal, address: string, tokenFile: string): void {
  const application = `${address}/app/widgetmakers`;
  terminal.print();
  terminal.print(terminal.paint('bold', 'Muster goes on running'));
  terminal.print(`  address      ${terminal.paint('cyan', address)}`);
  terminal.print(`  admin token  ${tokenFile}`);
  terminal.print(`  try          curl -H "Auth-Token: $(cat ${tokenFile})" ${application}`);
  terminal.print(
    '  stop         Ctrl-C ends Muster, its PostgreSQL and the servers, and removes their files',
  );
}

async function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
}
