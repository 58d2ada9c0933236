import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { findQuietPort } from './quiet-port.ts';
import { runToEnd } from './run-to-end.ts';

/** The folders that every server has for itself, empty at its start and gone with it. */
const OWN_FOLDERS = ['/opt', '/srv', '/var/www', '/root', '/home'] as const;

/** The environment of sshd and of what looks inside: nothing of the caller's leaks into a server. */
const SERVER_ENV = {
  PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
  HOME: '/root',
  LC_ALL: 'C',
} as const;

/**
 * Process 1 of a server. It reaps orphans as a real init does (a shell that sits in `read` would not), and
 * ends when its control pipe ends, that is with the process that started it, even by kill -9: the kernel then
 * kills all that is left in the PID namespace. `stop` ends sshd and every session but keeps the disks.
 */
const INIT_SCRIPT = `
set -eu
name=$1 state=$2; shift 2
IFS=' ' read -r pid _ </proc/self/stat
hostname "$name"
mount -t proc proc /proc
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/sshd /run/fleet
mount --bind "$state" /run/fleet
for folder in ${OWN_FOLDERS.join(' ')}; do
  mkdir -p "$folder"
  mount -t tmpfs -o mode=755 tmpfs "$folder"
done
mkdir -m 700 /root/.ssh
cp /run/fleet/authorized_keys /root/.ssh/authorized_keys
chmod 600 /root/.ssh/authorized_keys
cd /
control() {
  while read -r word port; do
    case $word in
      start) /usr/sbin/sshd -D -e -f /dev/null -p "$port" "$@" </dev/null & ;;
      stop) kill -KILL -1 || :; wait; echo stopped ;;
    esac
  done
}
exec 3<&0
control "$@" <&3 &
exec 3<&-
echo "ready $pid"
wait $!
`;

/** What a server needs to be started. */
export interface SshServerOptions {
  readonly name: string;
  /** Holds the host keys and `authorized_keys`; made if missing. */
  readonly stateDirectory: string;
  readonly authorizedKeys: readonly string[];
  /** Further host keys beside the ed25519 one, as a stock sshd has them. */
  readonly extraHostKeyTypes: readonly ('rsa' | 'ecdsa')[];
  /** `Keyword=value` lines of sshd_config. */
  readonly sshdOptions: readonly string[];
}

/**
 * One real sshd as root in its own mount, UTS and PID namespaces, listening on 127.0.0.1.
 * Shape of its life: `SshServer.start` → any number of `stop`/`start` (disks, port and key stay) → `close`.
 */
export class SshServer {
  readonly name: string;
  readonly port: number;
  /** Process 1 of the server as this machine counts: the target for nsenter. */
  readonly pid: number;
  #hostKey: string;
  readonly #init: Init;
  readonly #options: SshServerOptions;

  private constructor(options: SshServerOptions, init: Init, port: number, hostKey: string) {
    this.name = options.name;
    this.port = port;
    this.pid = init.pid;
    this.#hostKey = hostKey;
    this.#init = init;
    this.#options = options;
  }

  /** Bring up a server on a free port. Resolves when sshd listens; rejects with what sshd said otherwise. */
  static async start(options: SshServerOptions): Promise<SshServer> {
    const hostKey = await writeState(options);
    const init = await Init.start(options);
    try {
      // Between the look for a free port and sshd's bind another process may take it: look again.
      for (let attempt = 1; ; attempt += 1) {
        const port = await findQuietPort();
        try {
          await init.startSshd(port);
          return new SshServer(options, init, port, hostKey);
        } catch (error) {
          if (attempt === 5) throw error;
        }
      }
    } catch (error) {
      await init.close();
      throw error;
    }
  }

  /** The public ed25519 host key as `ssh-ed25519 AAAA…`. */
  get hostKey(): string {
    return this.#hostKey;
  }

  /** End sshd and every process on the server at once, as a power cut would; files stay. */
  async stop(): Promise<void> {
    await this.#init.stopAll();
  }

  /** Listen again on the same port with the present host key. */
  async restart(): Promise<void> {
    await this.#init.startSshd(this.port);
  }

  /** Give the server a new host key, as a reinstalled or impersonated machine would have; it is restarted. */
  async rotateHostKey(): Promise<void> {
    await this.stop();
    this.#hostKey = await makeHostKey(this.#options.stateDirectory, 'ed25519', this.name);
    await this.restart();
  }

  /** Run something on the server without SSH: what a test uses to see what is really there. */
  async inspect(
    command: readonly string[] | string,
  ): Promise<{ exitCode: number | null; stdout: string; stderr: string }> {
    const argv = typeof command === 'string' ? ['sh', '-c', command] : command;
    return await runToEnd(['nsenter', '-t', `${this.pid}`, '-m', '-u', '-p', '--', ...argv], {
      env: SERVER_ENV,
    });
  }

  /** End the server and everything on it; its files are gone. */
  async close(): Promise<void> {
    await this.#init.close();
  }
}

/** The namespaces of a server and the pipe that controls them. */
class Init {
  readonly pid: number;
  readonly #child: ChildProcessByStdio<Writable, Readable, Readable>;
  readonly #output: LineWatcher;

  private constructor(
    child: ChildProcessByStdio<Writable, Readable, Readable>,
    output: LineWatcher,
    pid: number,
  ) {
    this.#child = child;
    this.#output = output;
    this.pid = pid;
  }

  static async start(options: SshServerOptions): Promise<Init> {
    const keyFiles = ['ed25519', ...options.extraHostKeyTypes].flatMap((type) => [
      '-h',
      `/run/fleet/host_key_${type}`,
    ]);
    const settings = options.sshdOptions.flatMap((option) => ['-o', option]);
    const child = spawn(
      'unshare',
      [
        ...['-m', '-u', '-p', '--fork', '--kill-child', '--propagation', 'private'],
        ...['sh', '-c', INIT_SCRIPT, 'init', options.name, options.stateDirectory],
        ...keyFiles,
        ...settings,
      ],
      { stdio: ['pipe', 'pipe', 'pipe'], env: SERVER_ENV },
    );
    // The server may be gone when the control pipe is closed: not an error.
    child.stdin.on('error', () => undefined);
    const output = new LineWatcher(options.name, child);
    const ready = await output.next(/^ready (\d+)$/);
    return new Init(child, output, Number(ready[1]));
  }

  async startSshd(port: number): Promise<void> {
    const listening = this.#output.next(/^Server listening on /, /^(fatal|error): |Cannot bind/);
    this.#child.stdin.write(`start ${port}\n`);
    await listening;
  }

  async stopAll(): Promise<void> {
    const stopped = this.#output.next(/^stopped$/);
    this.#child.stdin.write('stop\n');
    await stopped;
  }

  async close(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = once(this.#child, 'close');
    this.#child.stdin.end();
    // Ending the pipe is enough, unless process 1 hangs; the namespace's end must not depend on it.
    const killer = setTimeout(() => this.#child.kill('SIGKILL'), 3000);
    await ended;
    clearTimeout(killer);
  }
}

/** Waits for one line of a child's output; fails with the last lines when the child says no or ends. */
class LineWatcher {
  readonly #tail: string[] = [];
  readonly #name: string;
  #waiting: ((line: string | null) => void) | undefined;
  #ended = false;

  constructor(name: string, child: ChildProcessByStdio<Writable, Readable, Readable>) {
    this.#name = name;
    for (const stream of [child.stdout, child.stderr]) this.#watch(stream);
    child.once('close', () => {
      this.#ended = true;
      this.#waiting?.(null);
    });
    child.once('error', (error) => {
      this.#tail.push(error.message);
      this.#ended = true;
      this.#waiting?.(null);
    });
  }

  async next(wanted: RegExp, refusal?: RegExp): Promise<RegExpMatchArray> {
    return await new Promise((resolve, reject) => {
      const fail = (what: string): void => {
        clearTimeout(timer);
        this.#waiting = undefined;
        reject(new Error(`Server ${this.#name} ${what}: ${this.#tail.join('\n')}`));
      };
      const timer = setTimeout(() => fail('did not answer within 60 s'), 60_000);
      this.#waiting = (line) => {
        const match = line?.match(wanted);
        if (match) {
          clearTimeout(timer);
          this.#waiting = undefined;
          resolve(match);
        } else if (line === null) fail('ended');
        else if (refusal?.test(line)) fail('failed');
      };
      if (this.#ended) fail('has ended');
    });
  }

  #watch(stream: Readable): void {
    let rest = '';
    stream.setEncoding('utf8').on('data', (chunk: string) => {
      const lines = (rest + chunk).split(/\r?\n/);
      rest = lines.pop() ?? '';
      for (const line of lines) {
        this.#tail.push(line);
        if (this.#tail.length > 20) this.#tail.shift();
        this.#waiting?.(line);
      }
    });
  }
}

async function writeState(options: SshServerOptions): Promise<string> {
  const { stateDirectory, name } = options;
  await mkdir(stateDirectory, { recursive: true, mode: 0o700 });
  await writeFile(
    join(stateDirectory, 'authorized_keys'),
    `${options.authorizedKeys.join('\n')}\n`,
    { mode: 0o600 },
  );
  for (const type of options.extraHostKeyTypes) await makeHostKey(stateDirectory, type, name);
  return await makeHostKey(stateDirectory, 'ed25519', name);
}

async function makeHostKey(directory: string, type: string, comment: string): Promise<string> {
  const file = join(directory, `host_key_${type}`);
  await rm(file, { force: true });
  await rm(`${file}.pub`, { force: true });
  const made = await runToEnd([
    'ssh-keygen',
    '-q',
    '-t',
    type,
    '-N',
    '',
    '-C',
    comment,
    '-f',
    file,
  ]);
  if (made.exitCode !== 0) throw new Error(`ssh-keygen failed: ${made.stderr}`);
  await chmod(file, 0o600);
  const [algorithm, key] = (await readFile(`${file}.pub`, 'utf8')).split(' ');
  return `${algorithm} ${key}`;
}
