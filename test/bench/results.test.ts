import { join } from 'node:path';
import { expect, test } from 'vitest';
import { findRegressions, type Measured, readFigures, writeResults } from '../../bench/results.ts';
import type { Figure } from '../../bench/row.ts';
import { makeTemporaryDirectory } from '../support/temporary-directory.ts';

const MACHINE = '2 cores';

function measured(row: number, ...figures: readonly Figure[]): Measured {
  return {
    row: {
      number: row,
      work: `work ${row}`,
      needsPeers: false,
      run: () => Promise.reject(new Error('not run here')),
    },
    result: { figures, tables: [], notes: ['A note.'] },
    date: '2026-01-02',
    source: 'abc',
  };
}

const time = (value: number | null): Figure => ({
  ...{ name: 'time by that of rsync', unit: '×', goal: { atMost: 0.5 } },
  value,
  note: 'a note, (with 3.14 in it)',
});
const speed = (value: number): Figure => ({
  ...{ name: 'reads per second', unit: '×', goal: { atLeast: 0.6 }, value },
});

test('a row that is measured anew takes the place of its last results, and the others stay', async () => {
  const directory = await makeTemporaryDirectory();
  const file = join(directory.path, 'RESULTS.md');
  try {
    await writeResults(file, { rows: [measured(11, speed(0.7))], machine: MACHINE });
    await writeResults(file, { rows: [measured(1, time(0.4))], machine: MACHINE });
    await writeResults(file, { rows: [measured(1, time(0.25))], machine: MACHINE });
    expect(await readFigures(file)).toEqual([
      { row: 1, name: 'time by that of rsync', value: 0.25 },
      { row: 11, name: 'reads per second', value: 0.7 },
    ]);
  } finally {
    await directory.remove();
  }
});

test('what could not be measured is no figure to compare with', async () => {
  const directory = await makeTemporaryDirectory();
  const file = join(directory.path, 'RESULTS.md');
  try {
    await writeResults(file, { rows: [measured(1, time(null))], machine: MACHINE });
    expect(await readFigures(file)).toEqual([]);
  } finally {
    await directory.remove();
  }
});

test('a regression is a figure that is more than a fifth worse than it was, whichever way is worse', () => {
  const kept = [
    { row: 1, name: 'time by that of rsync', value: 1 },
    { row: 11, name: 'reads per second', value: 1 },
  ];
  const found = (row: number, figure: Figure): number =>
    findRegressions([measured(row, figure)], kept).length;
  expect(found(1, time(1.25))).toBe(1);
  expect(found(1, time(1.15))).toBe(0);
  expect(found(1, time(0.1))).toBe(0);
  expect(found(1, time(null))).toBe(0);
  expect(found(11, speed(0.8))).toBe(1);
  expect(found(11, speed(0.9))).toBe(0);
  expect(found(11, speed(5))).toBe(0);
  expect(found(2, time(99))).toBe(0);
});
