import { describe, expect, it } from 'vitest';
import { readOptions } from '../../../scripts/chaos/options.ts';

describe('the options of npm run chaos', () => {
  it('have defaults', () => {
    expect(readOptions([])).toEqual({
      mode: 'distributed',
      rounds: 500,
      seed: 1,
      everyPoint: 1,
      servers: 4,
      workers: 2,
      slices: 2,
      report: null,
    });
  });

  it('are read', () => {
    const args = ['--mode', 'embedded', '--points', 'none', '--rounds', '0', '--report', 'x.md'];
    expect(readOptions(args)).toMatchObject({
      mode: 'embedded',
      everyPoint: null,
      rounds: 0,
      report: 'x.md',
    });
    expect(readOptions(['--points', '5', '--seed', '77'])).toMatchObject({
      everyPoint: 5,
      seed: 77,
    });
    expect(readOptions(['-h'])).toBe('help');
  });

  it.each([
    [['--mode', 'embeded'], 'There is no mode "embeded"; choose distributed or embedded.'],
    [['--points', 'some'], '--points takes all, none or a whole number from 1 on, not "some".'],
    [['--points', '0'], '--points takes all, none or a whole number from 1 on, not "0".'],
    [['--servers', '0'], '--servers takes a whole number from 1 on, not "0".'],
    [['--rounds', '1.5'], '--rounds takes a whole number from 0 on, not "1.5".'],
    [['--sed', '1'], "Unknown option '--sed'"],
  ])('%j: a clear sentence', (args, sentence) => {
    expect(() => readOptions(args)).toThrow(sentence);
  });
});
