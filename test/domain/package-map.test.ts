import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { cutPackage, type PackageSpec, validatePackageMap } from '../../src/domain/package-map.ts';

/** The fixture of the old system's own tests, and what was observed there, as far as it was meant. */
const BUILD_123 = [
  'build-123/assets/css/style.css',
  'build-123/assets/img/banner.png',
  'build-123/assets/main.html',
  'build-123/bin/lib/libfoo.so',
  'build-123/bin/widgets',
  'build-123/config/file.txt',
  'build-123/config/file.xml',
  'build-123/config/file.yaml',
];

const TREE = [
  '.env',
  '.top/z',
  'a/bin/lib/q',
  'bin/lib/libfoo.so',
  'bin/widgets',
  'conf/.hid',
  'conf/a/b/main.xml',
  'conf/main.xml',
  'conf/x.txt',
];

function members(spec: PackageSpec, paths: readonly string[] = TREE): string[] {
  return cutPackage('p', spec, paths).entries.map(({ to }) => to);
}

describe('the fixture map', () => {
  it.each([
    [
      { patterns: ['build-123/config/**/*'], remove_prefix: 'build-123/' },
      ['config/file.txt', 'config/file.xml', 'config/file.yaml'],
    ],
    [
      { patterns: ['build-123/bin/**/*'] },
      ['build-123/bin/lib/libfoo.so', 'build-123/bin/widgets'],
    ],
    [{ patterns: ['build-123/bin/lib/**/*'] }, ['build-123/bin/lib/libfoo.so']],
    [
      { patterns: ['build-123/assets/**/*'], prefix: 'web/static/' },
      [
        'web/static/build-123/assets/css/style.css',
        'web/static/build-123/assets/img/banner.png',
        'web/static/build-123/assets/main.html',
      ],
    ],
  ])('%j holds %j', (spec, expected) => {
    expect(members(spec, BUILD_123)).toEqual(expected);
  });
});

describe('patterns', () => {
  it.each([
    ['bin/**/*', ['bin/lib/libfoo.so', 'bin/widgets']],
    ['bin/**', ['bin/lib/libfoo.so', 'bin/widgets']],
    ['bin/*', ['bin/widgets']],
    ['conf/**/*.xml', ['conf/a/b/main.xml', 'conf/main.xml']],
    ['**/main.xml', ['conf/a/b/main.xml', 'conf/main.xml']],
    ['bin/[!l]*', ['bin/widgets']],
    ['bin/[vw]idgets', ['bin/widgets']],
    ['bin/?idgets', ['bin/widgets']],
    ['{bin,conf}/*', ['bin/widgets', 'conf/.hid', 'conf/main.xml', 'conf/x.txt']],
    ['./bin/*', ['bin/widgets']],
    ['BIN/*', []],
    ['bin', []],
    ['*', ['.env']],
    ['**', TREE],
    ['**/*', TREE],
    ['**/**/q', ['a/bin/lib/q']],
  ])('%j match %j', (pattern, expected) => {
    expect(members({ patterns: [pattern] })).toEqual(expected);
  });

  it.each(['!x', '#x', '+(a)', '@(a|b)', 'a]', '}', '{x}', 'x{', '[x'])(
    'take %j for itself when escaped or not special',
    (name) => {
      const pattern = name.replace(/[[{]$|^\[/, '\\$&');
      expect(members({ patterns: [pattern] }, [name, 'other'])).toEqual([name]);
    },
  );

  it('put a file into a package once, however many of them match it', () => {
    expect(members({ patterns: ['bin/**/*', 'bin/widgets', '**/**/widgets'] })).toEqual([
      'bin/lib/libfoo.so',
      'bin/widgets',
    ]);
  });

  it('that match nothing are told, in their order', () => {
    const cut = cutPackage('p', { patterns: ['nope/**', 'bin/*', 'zip', 'bin/widgets'] }, TREE);
    expect(cut.unmatchedPatterns).toEqual(['nope/**', 'zip']);
  });
});

describe('prefixes', () => {
  it.each([
    [{ remove_prefix: 'conf/', prefix: 'new/' }, 'conf/main.xml', 'new/main.xml'],
    [{ remove_prefix: 'x/' }, 'x/x/x/f', 'x/x/f'],
    [{ remove_prefix: 'bin/' }, 'a/bin/lib/q', 'a/bin/lib/q'],
    [{ prefix: 'P' }, 'conf/x', 'Pconf/x'],
    [{ remove_prefix: 'conf', prefix: 'etc' }, 'conf/x', 'etc/x'],
    [{ prefix: './web//' }, 'x', 'web/x'],
    [{ prefix: '' }, 'x', 'x'],
    [{ remove_prefix: 'a/x' }, 'a/x./y', 'y'],
  ])('%j make of %j the name %j', (prefixes, from, to) => {
    expect(members({ patterns: ['**'], ...prefixes }, [from])).toEqual([to]);
  });

  it('that lead two files to one name are refused, naming both', () => {
    const cut = () => members({ patterns: ['**'], remove_prefix: 'a/' }, ['a/x', 'x']);
    expect(cut).toThrow(
      expect.objectContaining({
        code: 'package_map_conflict',
        message: expect.stringMatching(/"a\/x" and "x" both end at "x"/),
        details: { package: 'p', files: ['a/x', 'x'] },
      }),
    );
  });

  it.each([[['a/x', 'x/y']], [['x/y', 'a/x']], [['x/y/z', 'x/w', 'a/x']]])(
    'that put a file inside a file are refused: %j',
    (paths) => {
      expect(() => members({ patterns: ['**'], remove_prefix: 'a/' }, paths)).toThrow(
        expect.objectContaining({ code: 'package_map_conflict' }),
      );
    },
  );

  it.each([
    [{ remove_prefix: 'conf' }, 'conf/x'],
    [{ remove_prefix: 'x' }, 'x'],
    [{ remove_prefix: 'a/x' }, 'a/x..'],
    [{ prefix: '.g', remove_prefix: 'conf/' }, 'conf/it/x'],
    [{ prefix: 'x'.repeat(250) }, 'longer'],
  ])('%j that lead %j to an unsafe name are refused', (prefixes, path) => {
    expect(() => members({ patterns: ['**'], ...prefixes }, [path])).toThrow(
      expect.objectContaining({ code: 'package_map_conflict' }),
    );
  });
});

describe('a package map', () => {
  it('is taken as it is when it is good', () => {
    const map = {
      a: { patterns: ['**'] },
      'B.1': { patterns: ['x', '[]]', '\\{', '{a,b}{c,d}'], prefix: 'p/', remove_prefix: '../any' },
    };
    expect(validatePackageMap(map)).toEqual(map);
  });

  it.each([
    ['no object', []],
    ['no packages', {}],
    ['a package that is none', { p: null }],
    ['no patterns', { p: {} }],
    ['patterns that are no list', { p: { patterns: 'x' } }],
    ['an empty list', { p: { patterns: [] } }],
    ['an empty pattern', { p: { patterns: [''] } }],
    ['a pattern that is no string', { p: { patterns: [1] } }],
    ['an absolute pattern', { p: { patterns: ['/etc/*'] } }],
    ['an absolute alternative', { p: { patterns: ['{a,/etc}/*'] } }],
    ['a pattern with ..', { p: { patterns: ['../x'] } }],
    ['a pattern with .. inside', { p: { patterns: ['a/../../x'] } }],
    ['an alternative that is ..', { p: { patterns: ['a/{b,..}/x'] } }],
    ['.. put together from parts', { p: { patterns: ['a/.{.,x}/y'] } }],
    ['an open bracket', { p: { patterns: ['w[x'] } }],
    ['a bracket over two folders', { p: { patterns: ['w[x/y]'] } }],
    ['an open brace', { p: { patterns: ['{a,b'] } }],
    ['a brace that tears a bracket apart', { p: { patterns: ['{[a,b],c}'] } }],
    ['a lone backslash', { p: { patterns: ['a\\'] } }],
    ['too many alternatives', { p: { patterns: ['{1..9}{1..9}{1..9}{1..9}'] } }],
    ['a huge pattern', { p: { patterns: ['x'.repeat(2000)] } }],
    ['the root alone', { p: { patterns: ['./'] } }],
    ['a NUL', { p: { patterns: ['a\0'] } }],
    ['an unknown key', { p: { patterns: ['x'], exclude: ['y'] } }],
    ['a prefix that is no string', { p: { patterns: ['x'], prefix: 1 } }],
    ['an absolute prefix', { p: { patterns: ['x'], prefix: '/srv' } }],
    ['a prefix that leads out', { p: { patterns: ['x'], prefix: '../' } }],
    ['a prefix into .git', { p: { patterns: ['x'], prefix: '.git/hooks/' } }],
    ['the name master', { master: { patterns: ['x'] } }],
    ['a name with a slash', { 'a/b': { patterns: ['x'] } }],
    ['a name that is a prototype', JSON.parse('{"__proto__":{"patterns":["x"]}}')],
    ['too many patterns', { p: { patterns: Array.from({ length: 1001 }, () => 'x') } }],
  ])('with %s is refused', (_, map) => {
    expect(() => validatePackageMap(map)).toThrow(
      expect.objectContaining({ code: 'invalid_input' }),
    );
  });

  it('is either refused or cuts every build without another error than a conflict', () => {
    const pattern = fc.string({
      unit: fc.constantFrom(...'ab/.*?[]{},!\\-'),
      minLength: 1,
      maxLength: 12,
    });
    const paths = ['a', 'b/a', 'b/b/a', 'b/.a'];
    fc.assert(
      fc.property(fc.array(pattern, { minLength: 1, maxLength: 3 }), (patterns) => {
        let map: ReturnType<typeof validatePackageMap>;
        try {
          map = validatePackageMap({ p: { patterns } });
        } catch (error) {
          expect(error).toMatchObject({ code: 'invalid_input' });
          return;
        }
        const [spec = { patterns: [] }] = Object.values(map);
        const { entries, unmatchedPatterns } = cutPackage('p', spec, paths);
        expect(paths).toEqual(expect.arrayContaining(entries.map(({ from }) => from)));
        expect(patterns).toEqual(expect.arrayContaining([...unmatchedPatterns]));
      }),
      { numRuns: 1000 },
    );
  });
});
