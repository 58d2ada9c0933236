import { describe, expect, it } from 'vitest';
import { judgeClone, type SeenClone } from '../../src/domain/observation.ts';

const clone = { installationId: 'i1', branch: 'master' };
const asLeft: SeenClone = {
  installation: 'i1',
  head: 'second',
  branch: 'master',
  left: 'second',
  deployed: 'second',
  base: 'second',
  modified: false,
};
/** Local changes were there when it was deployed. */
const merged: Partial<SeenClone> = { head: 'merge', left: 'merge' };

describe('judgeClone', () => {
  it.each<[string, Partial<SeenClone>, string, string | null, boolean]>([
    ['as it was left', {}, 'none', 'second', true],
    ['with changed files', { modified: true }, 'modified', 'second', true],
    ['with merged local changes', { ...merged, modified: true }, 'modified', 'second', true],
    ['with merged changes that the build has, too', merged, 'none', 'second', true],
    ['whose merged changes were taken away', { left: 'merge' }, 'none', 'second', true],
    ['of which nobody knows whether files changed', { modified: null }, 'unknown', 'second', true],
    ['that was rolled back', { head: 'first', base: 'first' }, 'moved', 'first', true],
    ['with a commit on an older one', { head: 'x', base: 'first' }, 'moved', 'first', false],
    ['with changes beside a commit', { head: 'x', modified: true }, 'moved', 'second', false],
    ['of a history that is nobody’s', { head: 'x', base: null }, 'moved', null, false],
    ['whose HEAD is detached', { branch: null }, 'moved', 'second', true],
    ['on another branch', { branch: 'mine' }, 'moved', 'second', true],
  ])('tells of a clone %s', (_what, seen, drift, base, isKnown) => {
    const { head } = { ...asLeft, ...seen };
    expect(judgeClone(clone, { ...asLeft, ...seen })).toEqual({ drift, head, base, isKnown });
  });

  it.each<[string, Partial<SeenClone>]>([
    ['of somebody else', { installation: 'i2' }],
    ['that is not there', { installation: null, head: null, base: null }],
    ['without a commit', { head: null, base: null }],
  ])('says that nothing of it is where a clone is %s', (_what, seen) => {
    const nothing = { drift: 'moved', head: null, base: null, isKnown: false };
    expect(judgeClone(clone, { ...asLeft, ...seen })).toEqual(nothing);
  });
});
