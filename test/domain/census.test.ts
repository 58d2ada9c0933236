import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { CensusDetailsRow, CensusOptions, CensusRow } from '../../src/domain/census.ts';
import { startCensus, toDetailsLeaf, toLeaf } from '../../src/domain/census.ts';
import { groupMembers } from '../../src/domain/group-members.ts';

type Tree = Record<string, Record<string, Record<string, Record<string, unknown>>>>;

/** The census as text, its servers added in the order in which they first come. */
function censusText<Row extends CensusRow>(
  rows: readonly Row[],
  options: CensusOptions<Row, unknown>,
): string {
  const census = startCensus(options);
  for (const server of new Set(rows.map((one) => one.server))) {
    census.addServer(rows.filter((one) => one.server === server));
  }
  return census.toJson();
}

function buildCensus<Row extends CensusRow>(
  rows: readonly Row[],
  options: CensusOptions<Row, unknown>,
): Tree {
  return JSON.parse(censusText(rows, options));
}

const row = (place: string, committed: string | null, deployed: string | null): CensusRow => {
  const [environment = '', server = '', gitdeploy = ''] = place.split('/');
  return { environment, server, gitdeploy, committed, deployed };
};

const groups = [
  { name: 'web', gitdeploys: ['config', 'site'] },
  { name: 'base', gitdeploys: ['config'] },
];

const rows = [
  row('production/web02/site', 'b7', 'b6'),
  row('production/web02/config', 'b7', 'b7'),
  row('production/web01/config', 'b7', 'b7'),
  row('production/web01/site', 'b7', 'b7'),
  row('testing/test01/site', 'b7', null),
  row('testing/test01/tools', null, null),
];

describe('the census', () => {
  it('is true per server and gitdeploy, under every group that holds the server', () => {
    expect(buildCensus(rows, { groups, leafOf: toLeaf })).toEqual({
      production: {
        base: {
          web01: { config: { committed: 'b7', deployed: 'b7' } },
          web02: { config: { committed: 'b7', deployed: 'b7' } },
        },
        web: {
          web01: {
            config: { committed: 'b7', deployed: 'b7' },
            site: { committed: 'b7', deployed: 'b7' },
          },
          web02: {
            config: { committed: 'b7', deployed: 'b7' },
            site: { committed: 'b7', deployed: 'b6' },
          },
        },
      },
      testing: {
        '-': {
          test01: {
            site: { committed: 'b7', deployed: null },
            tools: { committed: null, deployed: null },
          },
        },
      },
    });
  });

  it('puts only the gitdeploys that no holding group has under `-`', () => {
    const census = buildCensus([row('p/s/config', 'b', 'b'), row('p/s/tools', 'b', 'b')], {
      groups,
      leafOf: toLeaf,
    });
    expect(census).toEqual({
      p: {
        '-': { s: { tools: { committed: 'b', deployed: 'b' } } },
        base: { s: { config: { committed: 'b', deployed: 'b' } } },
      },
    });
  });

  it('has its keys sorted at every depth, whatever the order of the rows', () => {
    const text = censusText(rows, { groups, leafOf: toLeaf });
    const options = { groups: [...groups].reverse(), leafOf: toLeaf };
    expect(censusText([...rows].reverse(), options)).toBe(text);
    expect(text.match(/"(?:production|testing|base|web|-|web0[12]|test01)"/g)).toEqual(
      [
        'production',
        'base',
        'web01',
        'web02',
        'web',
        'web01',
        'web02',
        'testing',
        '-',
        'test01',
      ].map((key) => `"${key}"`),
    );
  });

  it('takes names that plain objects already have', () => {
    const census = censusText([row('constructor/toString/valueOf', 'b', null)], {
      groups: [{ name: 'hasOwnProperty', gitdeploys: ['valueOf'] }],
      leafOf: toLeaf,
    });
    expect(census).toBe(
      '{"constructor":{"hasOwnProperty":{"toString":{"valueOf":{"committed":"b","deployed":null}}}}}',
    );
  });

  it('sorts names that are whole numbers as it sorts all others', () => {
    const numbers = ['9', '10', 'a', '1'].map((name) => row(`p/${name}/site`, null, null));
    const text = censusText(numbers, { groups, leafOf: () => 0 });
    expect(text).toBe('{"p":{"-":{"1":{"site":0},"10":{"site":0},"9":{"site":0},"a":{"site":0}}}}');
  });

  it('is empty without installations', () => {
    expect(buildCensus([], { groups, leafOf: toLeaf })).toEqual({});
  });

  it('has the details of API.md in its leaves if they are wanted', () => {
    const detailed: CensusDetailsRow = {
      ...row('p/s/config', 'b7', 'b6'),
      deployedCommit: 'c0ffee',
      deployedAt: '2026-11-21T08:00:00.000Z',
      deploymentId: 'd1',
      drift: 'modified',
      observedAt: null,
      behind: 'b7',
    };
    expect(buildCensus([detailed], { groups, leafOf: toDetailsLeaf })).toEqual({
      p: {
        base: {
          s: {
            config: {
              committed: 'b7',
              deployed: 'b6',
              deployed_commit: 'c0ffee',
              deployed_at: '2026-11-21T08:00:00.000Z',
              deployment_id: 'd1',
              drift: 'modified',
              observed_at: null,
              behind: 'b7',
            },
          },
        },
      },
    });
  });
});

describe('a filtered census', () => {
  const filtered = (filter: { environment?: string; group?: string; server?: string }) =>
    buildCensus(rows, { groups, filter, leafOf: (one) => one.deployed });

  it('shows one environment', () => {
    expect(filtered({ environment: 'testing' })).toEqual({
      testing: { '-': { test01: { site: null, tools: null } } },
    });
  });

  it('shows one group, and what is under no group only if `-` is asked for', () => {
    expect(filtered({ group: 'base' })).toEqual({
      production: { base: { web01: { config: 'b7' }, web02: { config: 'b7' } } },
    });
    expect(Object.keys(filtered({ group: '-' }))).toEqual(['testing']);
  });

  it('shows one server, and only what matches all that is asked', () => {
    expect(filtered({ server: 'web02', group: 'web' })).toEqual({
      production: { web: { web02: { config: 'b7', site: 'b6' } } },
    });
    expect(filtered({ server: 'web02', environment: 'testing' })).toEqual({});
    expect(filtered({ server: 'unknown' })).toEqual({});
  });
});

describe('the census and the groups', () => {
  it('agrees with groupMembers on who is in a group, and loses no installation', () => {
    const gitdeploy = fc.constantFrom('a', 'b', 'c');
    const anyGroups = fc.uniqueArray(
      fc.record({
        name: fc.constantFrom('g', 'h', 'i'),
        gitdeploys: fc.array(gitdeploy, { maxLength: 3 }),
      }),
      { selector: ({ name }) => name },
    );
    const places = fc.uniqueArray(fc.tuple(fc.constantFrom('s1', 's2', 's3'), gitdeploy), {
      selector: (place) => place.join('/'),
    });
    fc.assert(
      fc.property(anyGroups, places, (someGroups, somePlaces) => {
        const someRows = somePlaces.map((place) => row(`p/${place.join('/')}`, 'b', 'b'));
        const census = buildCensus(someRows, { groups: someGroups, leafOf: toLeaf })['p'] ?? {};
        for (const [name, servers] of groupMembers(someGroups, someRows)) {
          expect(Object.keys(census[name] ?? {})).toEqual(servers);
        }
        for (const [server, one] of somePlaces) {
          const standsUnder = Object.keys(census).filter(
            (group) => census[group]?.[server]?.[one] !== undefined,
          );
          expect(standsUnder.length).toBeGreaterThan(0);
          // Either under `-` or under groups, never both.
          expect(standsUnder.includes('-')).toBe(
            standsUnder.length === 1 && standsUnder[0] === '-',
          );
        }
      }),
    );
  });
});
