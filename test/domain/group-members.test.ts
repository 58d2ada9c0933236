import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { groupMembers, groupsHolding, indexGroups } from '../../src/domain/group-members.ts';

const groups = [
  { name: 'web', gitdeploys: ['config', 'site'] },
  { name: 'all', gitdeploys: ['config'] },
  { name: 'empty', gitdeploys: [] },
  { name: 'constructor', gitdeploys: ['valueOf', 'valueOf'] },
];

describe('groupsHolding', () => {
  const index = indexGroups(groups);

  it('takes a group only if all its gitdeploys are initialized', () => {
    expect(groupsHolding(index, ['config'])).toEqual(['all']);
    expect(groupsHolding(index, ['site'])).toEqual([]);
    expect(groupsHolding(index, ['site', 'other', 'config'])).toEqual(['all', 'web']);
  });

  it('never takes a group without gitdeploys', () => {
    expect(groupsHolding(index, [])).toEqual([]);
  });

  it('counts a gitdeploy once, however often it is named', () => {
    expect(groupsHolding(index, ['config', 'config'])).toEqual(['all']);
    expect(groupsHolding(index, ['valueOf'])).toEqual(['constructor']);
  });
});

describe('groupMembers', () => {
  it('lists each group’s servers, sorted, and groups that have none', () => {
    const members = groupMembers(groups, [
      { server: 'web10', gitdeploy: 'site' },
      { server: 'web2', gitdeploy: 'config' },
      { server: 'web10', gitdeploy: 'config' },
      { server: 'db1', gitdeploy: 'site' },
    ]);
    expect(Object.fromEntries(members)).toEqual({
      web: ['web10'],
      all: ['web10', 'web2'],
      empty: [],
      constructor: [],
    });
  });

  it('is the intersection of the servers of all the group’s gitdeploys', () => {
    const gitdeploy = fc.constantFrom('a', 'b', 'c', 'd');
    const server = fc.constantFrom('s1', 's2', 's3', 's4');
    fc.assert(
      fc.property(
        fc.array(gitdeploy, { minLength: 1, maxLength: 4 }),
        fc.array(fc.record({ server, gitdeploy }), { maxLength: 16 }),
        (gitdeploys, installations) => {
          const expected = ['s1', 's2', 's3', 's4'].filter((name) =>
            gitdeploys.every((wanted) =>
              installations.some((one) => one.server === name && one.gitdeploy === wanted),
            ),
          );
          expect(groupMembers([{ name: 'g', gitdeploys }], installations).get('g')).toEqual(
            expected,
          );
        },
      ),
    );
  });
});
