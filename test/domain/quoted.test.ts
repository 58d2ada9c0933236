import { describe, expect, it } from 'vitest';
import { quoted, quotedList, shortened } from '../../src/domain/quoted.ts';

describe('a quoted value', () => {
  it('stands in backticks, or is said to be empty', () => {
    expect(quoted('web')).toBe('`web`');
    expect(quoted('')).toBe('an empty string');
  });

  it('is cut short and kept on one line', () => {
    expect(shortened(`a\r\n\u001b[31m${'x'.repeat(500)}`)).toMatch(/^a\ufffd{3}\[31mx{152}…$/);
  });
});

describe('a list of quoted values', () => {
  it.each([
    [[], ''],
    [['a'], '`a`'],
    [['a', 'b'], '`a` and `b`'],
    [['a', 'b', 'c', 'd', 'e'], '`a`, `b`, `c`, `d` and `e`'],
    [['a', 'b', 'c', 'd', 'e', 'f', 'g'], '`a`, `b`, `c`, `d`, `e` and 2 more'],
  ])('of %j is %j', (values, text) => {
    expect(quotedList(values)).toBe(text);
  });
});
