import { expect, it } from 'vitest';
import { counted } from '../../src/domain/counted.ts';

it.each([
  [counted(0, 'file'), '0 files'],
  [counted(1, 'file'), '1 file'],
  [counted(2, 'file'), '2 files'],
  [counted(1n, 'entry', 'entries'), '1 entry'],
  [counted(3n, 'entry', 'entries'), '3 entries'],
  [counted(1.5, 'second'), '1.5 seconds'],
])('what is counted reads %s', (text, expected) => {
  expect(text).toBe(expected);
});
