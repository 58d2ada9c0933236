import { readFile } from 'node:fs/promises';
import { availableParallelism, release, totalmem } from 'node:os';
import { runToEnd } from '../scripts/fleet/run-to-end.ts';

/** What the results depend on: the machine and the programs on it. */
export async function describeMachine(): Promise<string> {
  const os = await readFile('/etc/os-release', 'utf8').catch(() => '');
  const name = /^PRETTY_NAME="?([^"\n]+)/m.exec(os)?.[1] ?? process.platform;
  const cores = availableParallelism();
  const memory = Math.round(totalmem() / 1024 ** 3);
  const git = (await runToEnd(['git', '--version'])).stdout.trim();
  const kernel = release().split('-')[0];
  return `${cores} cores, ${memory} GB, ${name}, Linux ${kernel}, Node.js ${process.versions.node}, ${git}`;
}

/** Which Muster this is: the commit, and whether files differ from it. */
export async function describeSource(): Promise<string> {
  const revision = await runToEnd(['git', 'describe', '--always', '--dirty', '--abbrev=9']);
  return revision.exitCode === 0 ? revision.stdout.trim() : 'no commit';
}
