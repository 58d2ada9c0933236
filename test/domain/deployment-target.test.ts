import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type {
  DeploymentRequest,
  DeploymentSnapshot,
  SnapshotGitdeploy,
} from '../../src/domain/deployment-snapshot.ts';
import { planTarget, resolveDeploymentTarget } from '../../src/domain/deployment-target.ts';
import { AppError } from '../../src/domain/errors.ts';
import { writePlan } from './plan-notation.ts';

const gitdeploy = (name: string, changes: Partial<SnapshotGitdeploy> = {}): SnapshotGitdeploy => ({
  name,
  package: 'master',
  gitrepo: `${name}-repo`,
  branch: 'master',
  path: `/opt/${name}`,
  ...changes,
});

const installed = (...places: readonly string[]) =>
  places.map((place) => {
    const [server = '', name = ''] = place.split('/');
    return { server, gitdeploy: name };
  });

const base: DeploymentSnapshot = {
  servers: [
    { name: 'web02', environment: 'production' },
    { name: 'web01', environment: 'production' },
    { name: 'test01', environment: 'testing' },
    { name: 'spare01', environment: 'spare' },
  ],
  gitdeploys: [gitdeploy('site'), gitdeploy('config'), gitdeploy('worker')],
  groups: [
    { name: 'web', rolling: true, levels: [['config'], ['site']] },
    { name: 'base', rolling: false, levels: [['config']] },
    { name: 'jobs', rolling: false, levels: [['worker']] },
  ],
  installations: installed(
    ...['web01/config', 'web01/site', 'web02/config', 'web02/site'],
    ...['test01/config', 'test01/site'],
  ),
  build: { name: '7-master', state: 'stored', packages: ['master', 'binaries'] },
};

const resolve = (request: DeploymentRequest, changes: Partial<DeploymentSnapshot> = {}) =>
  resolveDeploymentTarget(request, { ...base, ...changes });

const refusal = (request: DeploymentRequest, changes: Partial<DeploymentSnapshot> = {}) => {
  try {
    resolve(request, changes);
  } catch (error) {
    if (error instanceof AppError) return error;
    throw error;
  }
  throw new Error('the request was not refused');
};

const manual = (servers: readonly string[], gitdeploys: readonly string[]) => ({
  servers,
  gitdeploys,
});
const group = (environments: readonly string[], groups: readonly string[]) => ({
  environments,
  groups,
});

describe('a manual deployment', () => {
  it('targets what it names, sorted and once', () => {
    expect(resolve(manual(['web02', 'web01', 'web02'], ['site', 'config', 'site']))).toEqual({
      style: 'manual',
      servers: ['web01', 'web02'],
      gitdeploys: ['config', 'site'],
      warnings: [],
    });
  });

  it('is refused with the map of what is not initialized', () => {
    const error = refusal(manual(['web01', 'test01', 'spare01'], ['worker', 'site']));
    expect(error.code).toBe('not_initialized');
    expect(error.message).toBe(
      'Not initialized yet: `site` on `spare01` and `worker` on `spare01`, `test01` and `web01`; initialize the gitdeploys there first, or leave them out.',
    );
    expect(error.details).toEqual({
      missing: { site: ['spare01'], worker: ['spare01', 'test01', 'web01'] },
    });
  });

  it('is planned as one batch', () => {
    const target = resolve(manual(['web01', 'web02'], ['config', 'site']));
    const options = { divisor: 2, rollingPauseSeconds: 60, orderedPauseSeconds: 5 };
    expect(writePlan(planTarget(target, options))).toBe('{web01,web02}configsite');
  });
});

describe('a group deployment', () => {
  it('targets the groups’ servers in the environments, and no others', () => {
    expect(resolve(group(['production'], ['web']))).toEqual({
      style: 'group',
      environments: ['production'],
      groups: [
        {
          name: 'web',
          rolling: true,
          servers: ['web01', 'web02'],
          levels: [['config'], ['site']],
        },
      ],
      servers: ['web01', 'web02'],
      gitdeploys: ['config', 'site'],
      warnings: [],
    });
  });

  it('takes the union of groups and of environments', () => {
    const target = resolve(group(['testing', 'production'], ['web', 'base', 'web']), {
      installations: [...base.installations, ...installed('spare01/config')],
    });
    expect(target.servers).toEqual(['test01', 'web01', 'web02']);
    expect(target.gitdeploys).toEqual(['config', 'site']);
    expect(target.style === 'group' && target.groups.map(({ name }) => name)).toEqual([
      'base',
      'web',
    ]);
  });

  it('is planned by its groups', () => {
    const options = { divisor: 2, rollingPauseSeconds: 60, orderedPauseSeconds: 5 };
    expect(writePlan(planTarget(resolve(group(['production'], ['web'])), options))).toBe(
      '{web01}config ordered · {web01}site · {web02}config ordered · {web02}site',
    );
  });

  it('warns of a group without a server there as long as another has some', () => {
    const target = resolve(group(['production'], ['web', 'jobs']));
    expect(target.gitdeploys).toEqual(['config', 'site']);
    expect(target.warnings).toEqual([
      {
        code: 'group_without_servers',
        subject: 'jobs',
        message: 'The group `jobs` has no server in `production`; nothing of it is deployed.',
      },
    ]);
  });

  it('does not ask for the packages of a group that has no server there', () => {
    const gitdeploys = [...base.gitdeploys.slice(0, 2), gitdeploy('worker', { package: 'none' })];
    expect(resolve(group(['production'], ['web', 'jobs']), { gitdeploys }).servers).toHaveLength(2);
  });

  it('warns of an environment without a server of the groups', () => {
    expect(resolve(group(['production', 'spare'], ['web'])).warnings).toEqual([
      expect.objectContaining({ code: 'environment_without_servers', subject: 'spare' }),
    ]);
  });

  it('warns of servers that have only some gitdeploys of a group', () => {
    const installations = [...base.installations, ...installed('spare01/site')];
    const target = resolve(group(['production', 'spare'], ['web']), { installations });
    expect(target.servers).toEqual(['web01', 'web02']);
    expect(target.warnings).toContainEqual({
      code: 'incomplete_servers',
      subject: 'web',
      message:
        'Some but not all gitdeploys of the group `web` are initialized on `spare01`, so the group is not deployed there.',
      missing: { config: ['spare01'] },
    });
  });

  it('is refused if no group has a server there, with the map of what is missing', () => {
    const installations = installed('web01/config', 'web02/site', 'test01/config', 'test01/site');
    const error = refusal(group(['production'], ['web', 'jobs']), { installations });
    expect(error.code).toBe('no_servers');
    expect(error.message).toBe(
      'No server in `production` has all gitdeploys of `jobs` and `web` initialized; initialize them there, or choose other groups or environments.',
    );
    expect(error.details).toEqual({
      environments: ['production'],
      groups: ['jobs', 'web'],
      missing: { config: ['web02'], site: ['web01'] },
    });
  });

  it('finds no server in a group without gitdeploys', () => {
    const groups = [{ name: 'empty', rolling: true, levels: [[]] }];
    expect(refusal(group(['production'], ['empty']), { groups }).code).toBe('no_servers');
  });

  it('ignores installations on servers that are not there', () => {
    const installations = installed('gone/config', 'gone/site');
    expect(refusal(group(['production'], ['web']), { installations }).code).toBe('no_servers');
  });
});

describe('the style', () => {
  it.each<DeploymentRequest>([
    { ...manual(['web01'], ['site']), ...group(['production'], ['web']) },
    { ...manual(['web01'], ['site']), groups: [] },
    { servers: ['web01'], groups: ['web'] },
  ])('may not be mixed: %j', (request) => {
    const error = refusal(request);
    expect(error.code).toBe('invalid_input');
    expect(error.message).toContain('mixes two styles');
  });

  it.each<DeploymentRequest>([
    {},
    { servers: ['web01'] },
    { gitdeploys: ['site'] },
    { groups: ['web'] },
    { environments: ['production'] },
    { environments: ['production'], groups: undefined },
  ])('may not be left incomplete: %j', (request) => {
    const error = refusal(request);
    expect(error.code).toBe('invalid_input');
    expect(error.message).toContain('incomplete');
  });

  it.each([
    [manual([], ['site']), 'no_servers', 'servers'],
    [manual(['web01'], []), 'invalid_input', 'gitdeploys'],
    [group([], ['web']), 'no_servers', 'environments'],
    [group(['production'], []), 'invalid_input', 'groups'],
  ] as const)('may not have an empty list: %j is %s', (request, code, empty) => {
    const error = refusal(request);
    expect(error.code).toBe(code);
    expect(error.details).toEqual({ empty });
  });
});

describe('unknown names', () => {
  it('are all told at once, with what was probably meant', () => {
    const error = refusal(group(['productoin', 'mars'], ['wbe', 'web']));
    expect(error.code).toBe('invalid_input');
    expect(error.message).toBe(
      'There are no environments `mars` and `productoin` (did you mean `production`?), nor groups `wbe` (did you mean `web`?); correct the names or create what is missing.',
    );
    expect(error.details).toEqual({
      unknown: { environments: ['mars', 'productoin'], groups: ['wbe'] },
      nearest: { environments: { productoin: 'production' }, groups: { wbe: 'web' } },
    });
  });

  it('are told of manual deployments before anything is said of what is not initialized', () => {
    expect(refusal(manual(['web1', 'spare01'], ['sites'])).details).toEqual({
      unknown: { servers: ['web1'], gitdeploys: ['sites'] },
      nearest: { servers: { web1: 'web01' }, gitdeploys: { sites: 'site' } },
    });
  });

  it('may be anything, even what plain objects already have, or thousands', () => {
    expect(refusal(manual(['__proto__', 'constructor'], ['site'])).details['unknown']).toEqual({
      servers: ['__proto__', 'constructor'],
    });
    const many = Array.from({ length: 5000 }, (_, i) => `nothing${i}`);
    const error = refusal(manual(many, ['site']));
    expect(error.message.length).toBeLessThan(500);
    expect(error.message).toContain('and 4995 more');
  });

  it('are the environments that no server has', () => {
    expect(refusal(group(['staging'], ['web'])).details['unknown']).toEqual({
      environments: ['staging'],
    });
  });
});

describe('the build', () => {
  it.each([
    ['created', 'The build `7-master` has no content yet; upload it first.'],
    ['storing', 'The build `7-master` is still being stored; wait until its upload has ended.'],
    ['failed', 'The build `7-master` could not be stored; upload it again.'],
  ] as const)('that is %s is refused before anything else', (state, message) => {
    const error = refusal({}, { build: { ...base.build, state } });
    expect(error.code).toBe('build_not_stored');
    expect(error.message).toBe(message);
    expect(error.details).toEqual({ build: '7-master', state });
  });

  it('has to have every package that is deployed', () => {
    const gitdeploys = [
      gitdeploy('site', { package: 'web' }),
      gitdeploy('config', { package: 'web' }),
      gitdeploy('worker', { package: 'binaries' }),
    ];
    const error = refusal(manual(['web01'], ['site', 'config']), { gitdeploys });
    expect(error.code).toBe('package_missing');
    expect(error.message).toContain('`web` (needed by `config` and `site`)');
    expect(error.details).toEqual({
      build: '7-master',
      missing: { web: ['config', 'site'] },
      packages: ['binaries', 'master'],
    });
  });

  it('always has the package master', () => {
    const build = { ...base.build, packages: [] };
    expect(resolve(manual(['web01'], ['site']), { build }).gitdeploys).toEqual(['site']);
  });
});

describe('two gitdeploys of one gitrepo branch', () => {
  const sharing = (changes: Partial<SnapshotGitdeploy>) => [
    gitdeploy('site', { gitrepo: 'shared' }),
    gitdeploy('config', { gitrepo: 'shared', package: 'binaries', ...changes }),
  ];

  it('may not deploy different packages', () => {
    const error = refusal(manual(['web01'], ['site', 'config']), { gitdeploys: sharing({}) });
    expect(error.code).toBe('conflicting_packages');
    expect(error.message).toContain('`config` and `site` share the branch `master`');
    expect(error.details).toEqual({
      gitrepo: 'shared',
      branch: 'master',
      packages: { config: 'binaries', site: 'master' },
    });
  });

  it('may not do so even on different servers, as a branch has one commit', () => {
    const groups = [
      { name: 'a', rolling: false, levels: [['site']] },
      { name: 'b', rolling: false, levels: [['config']] },
    ];
    const installations = installed('web01/site', 'web02/config');
    expect(
      refusal(group(['production'], ['a', 'b']), {
        gitdeploys: sharing({}),
        groups,
        installations,
      }).code,
    ).toBe('conflicting_packages');
  });

  it.each<[string, Partial<SnapshotGitdeploy>]>([
    ['deploy the same package', { package: 'master' }],
    ['deploy different packages on different branches', { branch: 'config' }],
  ])('may %s', (_what, changes) => {
    const target = resolve(manual(['web01'], ['site', 'config']), { gitdeploys: sharing(changes) });
    expect(target.gitdeploys).toEqual(['config', 'site']);
  });

  it('may differ if only one of them is deployed', () => {
    expect(resolve(manual(['web01'], ['site']), { gitdeploys: sharing({}) }).servers).toEqual([
      'web01',
    ]);
  });
});

describe('two gitdeploys of one path', () => {
  const atOnePath = (changes: Partial<SnapshotGitdeploy> = {}) => [
    gitdeploy('site', { path: '/opt/app' }),
    gitdeploy('config', { path: '/opt/app', ...changes }),
  ];

  it('may not meet on a server', () => {
    const error = refusal(manual(['web02', 'web01'], ['site', 'config']), {
      gitdeploys: atOnePath(),
    });
    expect(error.code).toBe('conflict');
    expect(error.message).toContain(
      '`config` and `site` would share the folder `/opt/app` on `web01` and `web02`',
    );
    expect(error.details).toEqual({
      path: '/opt/app',
      gitdeploys: ['config', 'site'],
      servers: ['web01', 'web02'],
    });
  });

  it('may not meet with two branches of one gitrepo either', () => {
    const gitdeploys = atOnePath({ gitrepo: 'site-repo', branch: 'other' });
    expect(refusal(manual(['web01'], ['site', 'config']), { gitdeploys }).code).toBe('conflict');
  });

  it('may meet with one branch of one gitrepo', () => {
    const gitdeploys = atOnePath({ gitrepo: 'site-repo' });
    expect(resolve(manual(['web01'], ['site', 'config']), { gitdeploys }).servers).toEqual([
      'web01',
    ]);
  });

  it('may meet with one branch where a third, of another branch, is elsewhere', () => {
    const changes = {
      gitdeploys: [
        ...atOnePath({ gitrepo: 'site-repo' }),
        gitdeploy('worker', { path: '/opt/app' }),
      ],
      groups: [
        { name: 'a', rolling: false, levels: [['site', 'config']] },
        { name: 'b', rolling: false, levels: [['worker']] },
      ],
      installations: installed('web01/site', 'web01/config', 'web02/worker'),
    };
    expect(resolve(group(['production'], ['a', 'b']), changes).servers).toEqual(['web01', 'web02']);
  });

  it('may be deployed to different servers by different groups', () => {
    const changes = {
      gitdeploys: atOnePath(),
      groups: [
        { name: 'a', rolling: false, levels: [['site']] },
        { name: 'b', rolling: false, levels: [['config']] },
      ],
    };
    const apart = installed('web01/site', 'web02/config');
    expect(
      resolve(group(['production'], ['a', 'b']), { ...changes, installations: apart }).servers,
    ).toEqual(['web01', 'web02']);
    const together = [...apart, ...installed('web02/site')];
    expect(
      refusal(group(['production'], ['a', 'b']), { ...changes, installations: together }).details,
    ).toMatchObject({ servers: ['web02'] });
  });
});

describe('any request', () => {
  const names = (...all: readonly string[]) => fc.array(fc.constantFrom(...all), { maxLength: 4 });
  const anyRequest = fc.oneof(
    fc.record({
      servers: names('web01', 'web02', 'test01', 'nowhere'),
      gitdeploys: names('site', 'config', 'worker'),
    }),
    fc.record({
      environments: names('production', 'testing', 'spare', 'mars'),
      groups: names('web', 'base', 'jobs'),
    }),
  );
  const outcome = (request: DeploymentRequest, snapshot: DeploymentSnapshot): unknown => {
    try {
      return resolveDeploymentTarget(request, snapshot);
    } catch (error) {
      if (error instanceof AppError) return [error.code, error.message, error.details];
      throw error;
    }
  };
  const reversed: DeploymentSnapshot = {
    ...base,
    servers: [...base.servers].reverse(),
    gitdeploys: [...base.gitdeploys].reverse(),
    groups: [...base.groups].reverse(),
    installations: [...base.installations].reverse(),
  };

  it('meets the same answer whatever the order of its lists and of the rows', () => {
    fc.assert(
      fc.property(anyRequest, (request) => {
        const backwards = Object.fromEntries(
          Object.entries(request).map(([key, list]) => [key, [...list].reverse()]),
        );
        expect(outcome(backwards, reversed)).toEqual(outcome(request, base));
      }),
    );
  });

  it('is planned only for pairs that are initialized', () => {
    const pairs = new Set(base.installations.map((one) => `${one.server}/${one.gitdeploy}`));
    const options = { divisor: 2, rollingPauseSeconds: 0, orderedPauseSeconds: 0 };
    fc.assert(
      fc.property(anyRequest, (request) => {
        fc.pre(!Array.isArray(outcome(request, base)));
        const target = resolveDeploymentTarget(request, base);
        const planned = planTarget(target, options).flatMap((batch) => batch.pairs);
        expect(planned.length).toBeGreaterThan(0);
        for (const pair of planned) expect(pairs).toContain(`${pair.server}/${pair.gitdeploy}`);
        expect([...new Set(planned.map(({ server }) => server))].sort()).toEqual(target.servers);
        expect([...new Set(planned.map((pair) => pair.gitdeploy))].sort()).toEqual(
          target.gitdeploys,
        );
      }),
      { numRuns: 200 },
    );
  });
});
