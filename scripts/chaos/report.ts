import { readFile, writeFile } from 'node:fs/promises';
import type { Round } from '../../test/chaos/rounds.ts';

const BEGIN = (mode: string): string => `<!-- ${mode} -->`;
const END = '<!-- end -->';

/** Puts the result of a run in the place of the last one of its mode. */
export async function writeReport(
  path: string,
  { mode, rounds }: { readonly mode: string; readonly rounds: readonly Round[] },
): Promise<void> {
  const text = await readFile(path, 'utf8');
  const start = text.indexOf(BEGIN(mode));
  const end = text.indexOf(END, start);
  if (start < 0 || end < 0) throw new Error(`${path} has no place for the mode ${mode}.`);
  const body = `${BEGIN(mode)}\n\n${describe(rounds)}\n`;
  await writeFile(path, text.slice(0, start) + body + text.slice(end));
}

function describe(rounds: readonly Round[]): string {
  const random = rounds.filter(({ what }) => what.startsWith('seed'));
  const points = rounds.filter(({ what }) => what.startsWith('kill '));
  const wrong = rounds.filter(({ violations }) => violations.length > 0);
  const seeds = random.map(({ what }) => Number(/^seed (\d+)/.exec(what)?.[1]));
  const faults = new Map<string, number>();
  for (const { what } of random) {
    for (const [, name = ''] of what.matchAll(/(?:: |; )([^;(]+) \(\d+ ms\)/g)) {
      faults.set(name, (faults.get(name) ?? 0) + 1);
    }
  }
  const kills = rounds.reduce((sum, { struck }) => sum + struck.length, 0);
  const minutes = rounds.reduce((sum, { seconds }) => sum + seconds, 0) / 60;
  return [
    `| | |`,
    `|---|---|`,
    `| day | ${new Date().toISOString().slice(0, 10)} |`,
    `| named points, each killed at in a deployment of its own | ${points.length} |`,
    `| random rounds | ${random.length}${seeds.length === 0 ? '' : ` (seeds ${Math.min(...seeds)} to ${Math.max(...seeds)})`} |`,
    `| kills at boundaries | ${kills} |`,
    ...[...faults].sort().map(([name, count]) => `| ${name} | ${count} |`),
    `| minutes | ${minutes.toFixed(0)} |`,
    `| rounds with a violation | ${wrong.length} |`,
    ...(wrong.length === 0
      ? []
      : ['', ...wrong.map((r) => `- ${r.what}: ${r.violations.join('; ')}`)]),
    '',
  ].join('\n');
}
