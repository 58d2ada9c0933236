import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { access, readdir, readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { sshFleetAvailable } from '../../scripts/fleet/ssh-fleet.ts';
import { captureOutput, registerSecretFiles } from '../support/run-output.ts';
import { makeTemporaryDirectory, type TemporaryDirectory } from '../support/temporary-directory.ts';

const DEMO = fileURLToPath(new URL('../../dist/scripts/demo/main.js', import.meta.url));
const READY_MS = 240_000;
const POLL_MS = 50;

const fleet = await sshFleetAvailable();
if (!fleet.available) process.stderr.write(`Skipped: the demo with sshd. ${fleet.reason}\n`);

/** A demo that runs, and all that it has said so far on both of its outputs. */
interface RunningDemo {
  readonly child: ChildProcess;
  said(): string;
  /** Its exit code. */
  readonly ended: Promise<number | null>;
}

describe('npm run demo', () => {
  let parent: TemporaryDirectory;
  let directory: string;
  const running = new Set<ChildProcess>();

  const startDemo = (...flags: readonly string[]): RunningDemo => {
    const args = [DEMO, '--directory', directory, '--port', '0', ...flags];
    // Where it is started is a folder of its own: it must not need the repository around it.
    const child = spawn(process.execPath, args, {
      cwd: parent.path,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    running.add(child);
    let said = '';
    const capture = captureOutput('demo');
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        said += text;
        capture(text);
      });
    }
    const ended = once(child, 'close').then(() => child.exitCode);
    return { child, said: () => said, ended };
  };
  const runDemo = async (
    ...flags: readonly string[]
  ): Promise<{ exitCode: number | null; said: string }> => {
    const demo = startDemo(...flags);
    const exitCode = await demo.ended;
    return { exitCode, said: demo.said() };
  };

  beforeAll(async () => {
    await access(DEMO).catch(() => {
      throw new Error(`${DEMO} is missing; run npm run build first.`);
    });
    parent = await makeTemporaryDirectory();
    directory = join(parent.path, 'demo');
  });

  afterEach(async () => {
    const ends = [...running].map(async (child) => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.kill('SIGTERM');
      await once(child, 'close');
    });
    await Promise.all(ends);
    running.clear();
  });

  afterAll(() => parent.remove());

  const expectGoodStory = ({ exitCode, said }: { exitCode: number | null; said: string }): void => {
    expect(said, said).not.toContain('✗');
    expect(exitCode, said).toBe(0);
    const lines = said.split('\n').map((line) => line.trim().replaceAll(/ {2,}/g, ' '));
    for (const [index, batch] of [
      '0 0 web01 web02 Configuration',
      '0 1 web01 web02 WebApplication',
      '1 0 web03 web04 Configuration',
      '1 1 web03 web04 WebApplication',
    ].entries()) {
      const row = new RegExp(`^${index} ${batch} \\d+\\.\\d+ s ✓ succeeded$`);
      // Once for each of the two deployments to production.
      expect(lines.filter((line) => row.test(line))).toHaveLength(2);
    }
    expect(lines).toContain('production WebFrontEnd web04 WebApplication 1.1.0 1.1.0');
    expect(lines).toContain('testing WebFrontEnd test01 Configuration 1.1.0 1.0.0 ← behind');
    expect(said).toMatch(/✓ Work by hand +is still on web02/);
    // Elsewhere than on a terminal there are plain lines.
    expect(said).not.toContain('\x1b');
  };

  const expectNothingLeft = async (): Promise<void> => {
    expect(await readdir(parent.path)).toEqual([]);
    expect(await processesOf(directory)).toEqual([]);
  };

  it('deploys to folders, checks them, and leaves nothing behind', async () => {
    const ended = await runDemo('--once', '--local');
    expectGoodStory(ended);
    expect(ended.said).toContain('5 folders of this machine, as --local asks for');
    await expectNothingLeft();
  });

  it.skipIf(!fleet.available)(
    'deploys to real sshd servers where this machine can run them, and leaves nothing behind',
    async () => {
      const ended = await runDemo('--once');
      expectGoodStory(ended);
      expect(ended.said).toContain('5 real sshd');
      await expectNothingLeft();
    },
  );

  it('goes on running until Ctrl-C, and a second demo on its folder says who has it', async () => {
    const demo = startDemo();
    const deadline = Date.now() + READY_MS;
    while (!demo.said().includes('Ctrl-C ends Muster')) {
      if (demo.child.exitCode !== null || Date.now() > deadline) expect.fail(demo.said());
      await sleep(POLL_MS);
    }
    const second = await runDemo('--once', '--local');
    expect(second.exitCode).toBe(1);
    expect(second.said).toContain(
      `A demo is still running on ${directory} as process ${demo.child.pid}`,
    );

    const [, address = '', tokenFile = ''] =
      /address +(\S+)\n +admin token +(\S+)/.exec(demo.said()) ?? [];
    const token = (await readFile(tokenFile, 'utf8')).trim();
    const reply = await fetch(`${address}/app`, { headers: { 'auth-token': token } });
    expect(await reply.json()).toMatchObject({ applications: ['widgetmakers'] });

    const [, git = ''] = /see web02 +(.+)/.exec(demo.said()) ?? [];
    const { stdout } = await promisify(execFile)('sh', ['-c', git], { timeout: 60_000 });
    expect(stdout).toContain('Keep what was changed on');

    registerSecretFiles(join(directory, 'data'));
    captureOutput('demo-muster')(await readFile(join(directory, 'muster.log')));
    demo.child.kill('SIGINT');
    expect(await demo.ended).toBe(0);
    await expectNothingLeft();
  });

  it('says which step failed and why, ends what it started and keeps the log', async () => {
    const taken = createServer().listen(0, '127.0.0.1');
    await once(taken, 'listening');
    const address = taken.address();
    const port = typeof address === 'object' ? `${address?.port}` : '';
    const { exitCode, said } = await runDemo('--once', '--local', '--port', port);
    taken.close();
    expect(exitCode).toBe(1);
    expect(said).toContain(`The step "Muster" failed.`);
    expect(said).toContain('EADDRINUSE');
    expect(said).toContain(join(directory, 'muster.log'));
    await access(join(directory, 'muster.log'));
    expect(await processesOf(directory)).toEqual([]);
  });

  it('empties no folder that is not its own', async () => {
    const file = join(parent.path, 'precious.txt');
    await writeFile(file, 'precious');
    const { exitCode, said } = await runDemo('--once', '--directory', parent.path);
    expect(exitCode).toBe(1);
    expect(said).toContain("is not empty and not a demo's folder");
    expect(await readFile(file, 'utf8')).toBe('precious');
  });
});

/** The command lines of all processes that have the folder in their arguments or their environment (Linux only). */
async function processesOf(directory: string): Promise<readonly string[]> {
  if (process.platform !== 'linux') return [];
  const pids = (await readdir('/proc')).filter(
    (name) => /^\d+$/.test(name) && name !== `${process.pid}`,
  );
  const found = await Promise.all(
    pids.map(async (pid) => {
      const read = (name: string): Promise<string> =>
        readFile(`/proc/${pid}/${name}`, 'utf8').catch(() => '');
      const commandLine = (await read('cmdline')).replaceAll('\0', ' ');
      return `${commandLine}${await read('environ')}`.includes(directory) ? [commandLine] : [];
    }),
  );
  return found.flat();
}
