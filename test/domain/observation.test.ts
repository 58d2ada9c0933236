import { describe, expect, it } from 'vitest';
import { judgeClone, type SeenClone } from '../../src/domain/observation.ts';

const left = {
  installationId: 'i1',
  branch: 'master',
  headCommit: 'merged',
  deployedCommit: 'second',
};
const asLeft: SeenClone = {
  installation: 'i1',
  head: 'merged',
  branch: 'master',
  base: 'second',
  modified: false,
};

describe('judgeClone', () => {
  it.each<[string, Partial<SeenClone>, string, string | null]>([
    ['as it was left, local changes merged', {}, 'none', 'second'],
    ['with changed files', { modified: true }, 'modified', 'second'],
    ['of which nobody knows whether files changed', { modified: null }, 'unknown', 'second'],
    ['that was rolled back', { head: 'first', base: 'first' }, 'moved', 'first'],
    ['with a local commit on an older one', { head: 'x', base: 'first' }, 'moved', 'first'],
    ['with changes beside a local commit', { head: 'x', modified: true }, 'moved', 'second'],
    ['of a history that is nobody’s', { head: 'x', base: null }, 'moved', 'second'],
    ['whose HEAD is detached', { branch: null }, 'moved', 'second'],
    ['on another branch', { branch: 'mine' }, 'moved', 'second'],
    ['of somebody else', { installation: 'i2' }, 'moved', null],
    ['that is not there', { installation: null, head: null, base: null }, 'moved', null],
  ])('tells of a clone %s', (_what, seen, drift, commit) => {
    expect(judgeClone(left, { ...asLeft, ...seen })).toEqual({ drift, commit });
  });
});
