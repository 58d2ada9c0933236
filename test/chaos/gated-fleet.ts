import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { constants } from 'node:fs';
import { link, mkdir, open, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { type SshFleet, startSshFleet } from '../../scripts/fleet/ssh-fleet.ts';
import type { Gate, Victim } from './gate.ts';

const run = promisify(execFile);

/**
 * What sshd runs in the place of every command: tells that it begins and waits for leave, runs it in a process group
 * of its own as sshd would, tells that it has ended and waits again before its end is passed on.
 */
const WRAPPER = `
gate=/run/fleet/gate
[ -e "$gate/on" ] || exec sh -c "$SSH_ORIGINAL_COMMAND"
id=$(hostname).$$
printf '%s' "$SSH_ORIGINAL_COMMAND" >"$gate/command.$id"
mkfifo "$gate/leave.$id"
echo "begin $id" >"$gate/told"
read -r _ <"$gate/leave.$id"
setsid -w sh -c "$SSH_ORIGINAL_COMMAND"
code=$?
echo "end $id" >"$gate/told"
read -r _ <"$gate/leave.$id"
rm -f "$gate/leave.$id" "$gate/command.$id"
exit $code
`;

/** A fleet whose servers tell of every command that they are given, and hold it while a fault happens. */
export interface GatedFleet extends SshFleet {
  close(): Promise<void>;
}

export async function startGatedFleet(options: {
  readonly names: readonly string[];
  readonly directory: string;
  readonly authorizedKeys: readonly string[];
  readonly gate: Gate;
  /** Who has work at a server. */
  readonly victimAt: (server: string) => ReturnType<Victim>;
}): Promise<GatedFleet> {
  const { names, directory, gate, victimAt } = options;
  const told = join(directory, 'told');
  await run('mkfifo', [told]);
  for (const name of names) {
    const folder = join(directory, name, 'gate');
    await mkdir(folder, { recursive: true });
    await writeFile(join(directory, name, 'gate.sh'), WRAPPER);
    await writeFile(join(folder, 'on'), '');
    await link(told, join(folder, 'told'));
  }
  // Opened for both ways, so that it does not end when a writer does.
  const reader = spawn('sh', ['-c', 'exec cat <>"$1"', 'cat', told], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const names_ = new Map<string, string>();
  createInterface({ input: reader.stdout }).on('line', (line) => {
    const [word, id = ''] = line.split(' ');
    const server = id.slice(0, id.lastIndexOf('.'));
    const folder = join(directory, server, 'gate');
    const pass = async (): Promise<void> => {
      if (word === 'begin') {
        const command = await readFile(join(folder, `command.${id}`), 'utf8').catch(() => '');
        names_.set(id, nameOf(command));
      }
      const name = names_.get(id) ?? 'unknown';
      if (word === 'end') names_.delete(id);
      const moment = word === 'begin' ? 'before' : 'after';
      // What a server was told to do it does, whether or not the one who said so still lives.
      await gate.pass({ source: 'server', moment, name, victim: () => victimAt(server) });
      await giveLeave(join(folder, `leave.${id}`));
    };
    // A server that was stopped meanwhile waits for nothing any more.
    pass().catch(() => undefined);
  });
  const fleet = await startSshFleet({
    names,
    directory,
    authorizedKeys: options.authorizedKeys,
    sshdOptions: ['ForceCommand=sh /run/fleet/gate.sh'],
  });
  return {
    ...fleet,
    servers: fleet.servers,
    close: async () => {
      await fleet.close();
      const ended = once(reader, 'exit');
      reader.kill('SIGKILL');
      await ended;
      await rm(told, { force: true });
    },
  };
}

/** Opens without waiting, again and again for a while: a server that was stopped never reads. */
async function giveLeave(fifo: string): Promise<void> {
  for (let tries = 0; tries < 2000; tries += 1) {
    try {
      const file = await open(fifo, constants.O_WRONLY | constants.O_NONBLOCK);
      await file.write('go\n');
      await file.close();
      return;
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'ENXIO')) throw error;
      await sleep(5);
    }
  }
}

/** Commands by what only they say. */
const COMMANDS: readonly (readonly [string, RegExp])[] = [
  ['kill', /^exec sh -c '.{0,40}kill -s /],
  ['prepull', /marks\/prepull/],
  ['postpull', /marks\/postpull/],
  ['end runs', /"ended\\":|ended=0/],
  ['stage', /fix-thin/],
  ['revert', /muster: revert/],
  ['switch', /muster: deploy/],
];

/** Of texts that servers keep, by the name under which they are called from then on. */
const operationOfText = new Map<string, string>();

function nameOf(command: string): string {
  const text = command.replaceAll(/\\0([0-7]{3})/g, (_, octal: string) =>
    String.fromCharCode(Number.parseInt(octal, 8)),
  );
  const said = COMMANDS.find(([, pattern]) => pattern.test(text))?.[0];
  const textName = /' ([0-9a-f]{40})$/.exec(command)?.[1];
  if (textName === undefined) return said ?? 'other command';
  if (said !== undefined) operationOfText.set(textName, said);
  return said ?? operationOfText.get(textName) ?? 'other command';
}
