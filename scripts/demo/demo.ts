import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createApi } from './api.ts';
import type { DemoDirectory } from './demo-directory.ts';
import { GITDEPLOYS, NAMES } from './describe-application.ts';
import { HAND_MADE_ON } from './hand-change.ts';
import { type MusterProcess, startMuster } from './muster-process.ts';
import type { DemoOptions } from './options.ts';
import { createProgress, type Progress } from './progress.ts';
import { chooseServerKind, type DemoServer } from './servers.ts';
import { tellStory } from './story.ts';
import type { Terminal } from './terminal.ts';

/** Where the demo speaks, and what ends it. */
export interface DemoStage {
  readonly terminal: Terminal;
  readonly signal: AbortSignal;
}

/**
 * The whole demo, from an empty folder to a folder that is gone; after a failure the folder stays, for the logs.
 * @param stage `signal` ends it at any point; everything that was started is ended first
 * @throws {StepFailure} for a step that failed, the signal's reason, or any other error of starting up
 */
export async function runDemo(
  options: DemoOptions,
  directory: DemoDirectory,
  stage: DemoStage,
): Promise<void> {
  const closing: (() => Promise<void>)[] = [];
  let failure: Error | undefined;
  try {
    await play(options, directory, { ...stage, closing });
  } catch (error) {
    failure = toError(error);
  }
  for (let end = closing.pop(); end !== undefined; end = closing.pop()) {
    try {
      await end();
    } catch (error) {
      // What failed first is what is told.
      failure ??= toError(error);
    }
  }
  await (failure === undefined || stage.signal.aborted ? directory.remove() : directory.release());
  if (failure !== undefined) throw failure;
}

async function play(
  options: DemoOptions,
  directory: DemoDirectory,
  stage: DemoStage & { readonly closing: (() => Promise<void>)[] },
): Promise<void> {
  const { terminal, signal, closing } = stage;
  const progress = createProgress(terminal);
  terminal.print(terminal.paint('bold', 'Muster demo'));
  terminal.print(
    'Two builds for five servers: everything below is done by requests to the HTTP API.',
  );
  progress.heading('Start');
  const muster = await start(options, progress, { directory, signal });
  closing.push(() => stop(muster, progress));
  await directory.note({ address: muster.address, muster: muster.mark });
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
  const servers = await tellStory({
    api,
    progress,
    serverKind,
    directory: directory.path,
    closing,
  });
  if (options.once) return;
  tellHowToGoOn(terminal, { address: muster.address, tokenFile, servers });
  await aborted(ending);
  // Ctrl-C is the good end; that Muster ended by itself is not.
  if (!signal.aborted) throw failing.signal.reason;
}

async function start(
  { port }: DemoOptions,
  progress: Progress,
  { directory, signal }: { directory: DemoDirectory; signal: AbortSignal },
): Promise<MusterProcess> {
  return await progress.step('Muster', async (tell) => {
    tell('starting, with a PostgreSQL of its own');
    const { data, log } = directory;
    const muster = await startMuster({ data, log, port, signal });
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

function tellHowToGoOn(
  { print, paint }: Terminal,
  running: { address: string; tokenFile: string; servers: readonly DemoServer[] },
): void {
  const { address, tokenFile, servers } = running;
  const edited = servers.find(({ name }) => name === HAND_MADE_ON);
  print();
  print(paint('bold', 'Muster goes on running'));
  print(`  address      ${paint('cyan', address)}`);
  print(`  admin token  ${tokenFile}`);
  print(
    `  ask it       curl -H "Auth-Token: $(cat ${tokenFile})" ${address}/app/${NAMES.application}`,
  );
  if (edited !== undefined) {
    const git = edited.gitIn(GITDEPLOYS.Configuration.path);
    print(`  see ${HAND_MADE_ON}    ${git} log --oneline --graph`);
  }
  print(
    '  stop         Ctrl-C ends Muster, its PostgreSQL and the servers, and removes their files',
  );
}

async function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
}

function toError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown));
}
