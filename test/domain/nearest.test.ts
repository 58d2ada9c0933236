import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { nearestName } from '../../src/domain/nearest.ts';

const parameters = ['build_name', 'rolling_divisor', 'rolling_pause', 'ordered_pause', 'dry_run'];

describe('nearestName', () => {
  it.each([
    ['rolling_diviser', 'rolling_divisor', 'a letter changed'],
    ['build_nme', 'build_name', 'a letter left out'],
    ['buildname', 'build_name', 'an underscore left out'],
    ['dryy_run', 'dry_run', 'a letter too many'],
    ['biuld_name', 'build_name', 'two letters swapped'],
    ['Dry_Run', 'dry_run', 'another case'],
    ['rollingPause', 'rolling_pause', 'camel case'],
    ['dry_run', 'dry_run', 'nothing wrong'],
  ])('finds that %s means %s: %s', (given, meant) => {
    expect(nearestName(given, parameters)).toBe(meant);
  });

  it.each(['', 'x', 'limit', 'run', 'token', 'build_name_of_the_application'])(
    'finds nothing near %j',
    (given) => {
      expect(nearestName(given, parameters)).toBeNull();
    },
  );

  it('prefers the nearer one, and of equally near ones the first by code units', () => {
    expect(nearestName('web02', ['web11', 'web01', 'web12', 'web2'])).toBe('web01');
    expect(nearestName('web03', ['web02', 'web01'])).toBe('web01');
    expect(nearestName('web1', ['web13', 'web1x', 'web1'])).toBe('web1');
  });

  it('does not take one short name for quite another', () => {
    expect(nearestName('a', ['b'])).toBeNull();
    expect(nearestName('qa', ['prod', 'dev'])).toBeNull();
    expect(nearestName('prdo', ['prod', 'dev'])).toBe('prod');
    expect(nearestName('good', ['prod'])).toBeNull();
  });

  it('finds nothing among nothing', () => {
    expect(nearestName('a', [])).toBeNull();
  });

  it('answers at once for a very long name', () => {
    const startedAt = performance.now();
    expect(nearestName('x'.repeat(1_000_000), parameters)).toBeNull();
    expect(performance.now() - startedAt).toBeLessThan(20_000);
  });

  it('finds any name of at least three letters again after one slip', () => {
    const slip = fc
      .tuple(fc.stringMatching(/^[a-z]{3,20}$/), fc.nat(), fc.constantFrom('drop', 'swap', 'add'))
      .map(([name, n, kind]) => ({ name, given: withSlip(name, n % (name.length - 1), kind) }));
    fc.assert(
      fc.property(slip, ({ name, given }) => {
        expect(nearestName(given, [name])).toBe(name);
      }),
    );
  });
});

function withSlip(name: string, at: number, kind: 'drop' | 'swap' | 'add'): string {
  const [before, here, next, after] = [
    name.slice(0, at),
    name.charAt(at),
    name.charAt(at + 1),
    name.slice(at + 2),
  ];
  switch (kind) {
    case 'drop':
      return before + next + after;
    case 'swap':
      return before + next + here + after;
    case 'add':
      return `${before}-${here}${next}${after}`;
    default:
      return kind satisfies never;
  }
}
