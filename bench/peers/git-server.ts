import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { findQuietPort } from '../../scripts/fleet/quiet-port.ts';
import { runProgram } from '../builds/run-program.ts';
import type { Version, Versions } from '../builds/versions.ts';

/** A git server for programs that have servers fetch. */
export interface GitServer {
  readonly port: number;
  /** A repository that shares its objects with that of all versions, and shows only what is published in it. */
  addRepository(name: string): Promise<ServedRepository>;
  close(): Promise<void>;
}

export interface ServedRepository {
  readonly url: string;
  /** Makes a version the head of `master`. */
  publish(version: Version): Promise<void>;
}

const START_MS = 20_000;
const POLL_MS = 50;

/** git's own daemon: no login and no encryption, so nothing serves faster. */
export async function startGitServer(directory: string, versions: Versions): Promise<GitServer> {
  const port = await findQuietPort();
  const child = spawn(
    'git',
    [
      ...['daemon', '--reuseaddr', '--export-all', '--max-connections=0', '--listen=127.0.0.1'],
      ...[`--port=${port}`, `--base-path=${directory}`, directory],
    ],
    { stdio: 'ignore' },
  );
  await untilItListens(port);
  return {
    port,
    addRepository: async (name) => {
      const path = join(directory, name);
      await runProgram(['git', 'init', '-q', '--bare', '-b', 'master', path]);
      const alternates = join(path, 'objects/info/alternates');
      await writeFile(alternates, `${join(versions.repository, 'objects')}\n`);
      return {
        url: `git://127.0.0.1:${port}/${name}`,
        publish: async ({ commit }) => {
          await runProgram(['git', '-C', path, 'update-ref', 'refs/heads/master', commit]);
        },
      };
    },
    close: async () => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const ended = once(child, 'exit');
      child.kill('SIGTERM');
      await ended;
    },
  };
}

async function untilItListens(port: number): Promise<void> {
  const end = performance.now() + START_MS;
  for (;;) {
    const socket = connect({ host: '127.0.0.1', port });
    try {
      await once(socket, 'connect');
      return;
    } catch (error) {
      if (performance.now() > end) throw error;
      await sleep(POLL_MS);
    } finally {
      socket.destroy();
    }
  }
}
