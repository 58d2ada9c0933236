import { stripVTControlCharacters } from 'node:util';
import { expect, test } from 'vitest';
import { tableLines } from '../../../scripts/demo/table.ts';
import { createTerminal, type Terminal } from '../../../scripts/demo/terminal.ts';

function open(
  isTTY: boolean,
  environment: NodeJS.ProcessEnv = {},
): { terminal: Terminal; written: string[] } {
  const written: string[] = [];
  const screen = { isTTY, rows: 4, write: (text: string) => written.push(text) };
  return { terminal: createTerminal(screen, environment), written };
}

const erase = (lines: number): string => `\x1b[${lines}A\r\x1b[J`;

test('on a terminal the block is erased by as many lines as it has, and drawn again', () => {
  const { terminal, written } = open(true);
  terminal.showLive(['one', 'two']);
  terminal.showLive(['three']);
  expect(written[0]).not.toContain('\x1b[2A');
  expect(written[1]).toContain(`${erase(2)}\x1b[?7lthree`);
});

test('a line that stays is written above the block', () => {
  const { terminal, written } = open(true);
  terminal.showLive(['block']);
  terminal.print('stays');
  expect(written[1]).toContain(`${erase(1)}stays\n\x1b[?7lblock`);
});

test('a block is never higher than the terminal, where it could not be erased', () => {
  const { terminal, written } = open(true);
  terminal.showLive(['1', '2', '3', '4', '5']);
  terminal.clearLive();
  expect(written[0]).not.toContain('4');
  expect(written[1]).toContain('\x1b[3A');
});

test('without a terminal there is no block, no color and no control sequence', () => {
  const { terminal, written } = open(false);
  terminal.showLive(['block']);
  terminal.print(terminal.paint('green', 'line'));
  terminal.clearLive();
  expect(written).toEqual(['line\n']);
});

test('NO_COLOR takes the colors away, and nothing else', () => {
  expect(open(true).terminal.paint('green', 'text')).toBe('\x1b[32mtext\x1b[39m');
  const { terminal } = open(true, { NO_COLOR: '1' });
  expect(terminal.paint('green', 'text')).toBe('text');
  expect(terminal.isLive).toBe(true);
});

test('the columns of a table are as wide as their widest cell, also when it is painted', () => {
  const { terminal } = open(true);
  const table = {
    columns: [{ title: 'a' }, { title: 'time', align: 'right' as const }, { title: 'z' }],
    rows: [
      [{ text: 'long', look: 'green' as const }, { text: '9 s' }, { text: 'x' }],
      [{ text: 'b' }, { text: '10.5 s' }, { text: 'y' }],
    ],
  };
  const plain = tableLines(table, terminal).map(stripVTControlCharacters);
  expect(plain).toEqual(['  a       time  z', '  long     9 s  x', '  b     10.5 s  y']);
});
