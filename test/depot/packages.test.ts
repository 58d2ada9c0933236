import { beforeAll, describe, expect, it } from 'vitest';
import { type TarEntry, tarGz } from './archive-builders.ts';
import { type DepotFixture, failure, git, openDepotFixture } from './fixtures.ts';

let fixture: DepotFixture;
let builds = 0;

beforeAll(async () => {
  fixture = await openDepotFixture();
  return fixture.close;
});

async function storeBuild(
  entries: readonly TarEntry[],
): Promise<{ buildId: string; tree: string }> {
  const buildId = `build-${++builds}`;
  const { tree } = await fixture.depot.ingestBuild({
    applicationId: fixture.applicationId,
    buildId,
    archivePath: await fixture.spool(tarGz(entries)),
    fileType: 'tar.gz',
  });
  return { buildId, tree };
}

async function paths(tree: string): Promise<string[]> {
  const found: string[] = [];
  for await (const { path } of fixture.depot.listFiles(fixture.applicationId, tree))
    found.push(path);
  return found;
}

const BUILD_123: readonly TarEntry[] = [
  { name: 'build-123/', type: '5' },
  { name: 'build-123/assets/css/style.css', content: 'css\n' },
  { name: 'build-123/assets/img/banner.png', content: Buffer.alloc(5120) },
  { name: 'build-123/assets/main.html', content: 'html' },
  { name: 'build-123/bin/lib/libfoo.so', content: Buffer.alloc(5120, 1) },
  { name: 'build-123/bin/widgets', content: Buffer.alloc(2560), mode: 0o755 },
  { name: 'build-123/config/file.txt', content: 'txt\n' },
  { name: 'build-123/config/file.xml', content: 'xml\n' },
  { name: 'build-123/config/file.yaml', content: 'yaml' },
];

const MAP = {
  configuration: { patterns: ['build-123/config/**/*'], remove_prefix: 'build-123/' },
  binaries: { patterns: ['build-123/bin/**/*', 'nothing/*'] },
  libraries: { patterns: ['build-123/bin/lib/**/*'] },
  assets: { patterns: ['build-123/assets/**/*'], prefix: 'web/static/' },
  nothing: { patterns: ['no/such/file'] },
  constructor: { patterns: ['**/file.txt'] },
};

describe('cutting packages', () => {
  it('makes trees of the same blobs, all in one go', async () => {
    const { buildId, tree } = await storeBuild(BUILD_123);
    const cut = await fixture.depot.cutPackages({
      applicationId: fixture.applicationId,
      buildId,
      tree,
      packages: MAP,
    });
    expect(Object.keys(cut)).toEqual(Object.keys(MAP));
    expect(await paths(cut['configuration']?.tree ?? '')).toEqual([
      'config/file.txt',
      'config/file.xml',
      'config/file.yaml',
    ]);
    expect(cut['binaries']).toMatchObject({
      files: 2,
      bytes: 7680,
      unmatchedPatterns: ['nothing/*'],
    });
    expect(await paths(cut['libraries']?.tree ?? '')).toEqual(['build-123/bin/lib/libfoo.so']);
    expect(await paths(cut['assets']?.tree ?? '')).toEqual([
      'web/static/build-123/assets/css/style.css',
      'web/static/build-123/assets/img/banner.png',
      'web/static/build-123/assets/main.html',
    ]);
    expect(cut['nothing']).toEqual({
      tree: '4b825dc642cb6eb9a060e54bf8d69288fbee4904',
      files: 0,
      bytes: 0,
      unmatchedPatterns: ['no/such/file'],
    });
    expect(
      await git(['ls-tree', `${cut['binaries']?.tree}:build-123/bin`, 'widgets'], fixture.gitDir),
    ).toContain('100755');
  });

  it('gives the same trees again, and takes one that is the build itself', async () => {
    const { buildId, tree } = await storeBuild(BUILD_123);
    const options = {
      applicationId: fixture.applicationId,
      buildId,
      tree,
      packages: { all: { patterns: ['**'] } },
    };
    const first = await fixture.depot.cutPackages(options);
    expect(first['all']?.tree).toBe(tree);
    expect(await fixture.depot.cutPackages(options)).toEqual(first);
  });

  it('takes a package that is a folder of the build, of which everything is there already', async () => {
    const { buildId, tree } = await storeBuild(BUILD_123);
    const packages = {
      config: { patterns: ['build-123/config/*'], remove_prefix: 'build-123/config/' },
    };
    const cut = await fixture.depot.cutPackages({
      applicationId: fixture.applicationId,
      buildId,
      tree,
      packages,
    });
    expect(cut['config']?.tree).toBe(
      await git(['rev-parse', `${tree}:build-123/config`], fixture.gitDir),
    );
    expect(await git(['fsck', '--connectivity-only', '--no-dangling'], fixture.gitDir)).toBe('');
  });

  it('stores no package when one of them has a conflict', async () => {
    const { buildId, tree } = await storeBuild([{ name: 'a/x' }, { name: 'x' }]);
    const before = await git(['for-each-ref'], fixture.gitDir);
    const packages = { good: { patterns: ['**'] }, bad: { patterns: ['**'], remove_prefix: 'a/' } };
    const error = await failure(
      fixture.depot.cutPackages({ applicationId: fixture.applicationId, buildId, tree, packages }),
      'package_map_conflict',
    );
    expect(error.message).toContain('"a/x" and "x"');
    expect(await git(['for-each-ref'], fixture.gitDir)).toBe(before);
  });

  it('refuses a link that would leave its package from its new place', async () => {
    const { buildId, tree } = await storeBuild([
      { name: 'app/lib/tool' },
      { name: 'app/bin/tool', type: '2', target: '../lib/tool' },
    ]);
    const cut = (packages: Parameters<typeof fixture.depot.cutPackages>[0]['packages']) =>
      fixture.depot.cutPackages({ applicationId: fixture.applicationId, buildId, tree, packages });
    const error = await failure(
      cut({ p: { patterns: ['app/bin/*'], remove_prefix: 'app/bin/' } }),
      'package_map_conflict',
    );
    expect(error.message).toContain('leaves the build');
    expect((await cut({ p: { patterns: ['**'], remove_prefix: 'app/' } }))['p']?.files).toBe(2);
  });
});

describe('a preview', () => {
  it('tells what each package would hold and stores nothing', async () => {
    const { tree } = await storeBuild(BUILD_123);
    const before = await git(['count-objects', '-v'], fixture.gitDir);
    const preview = await fixture.depot.previewPackages({
      applicationId: fixture.applicationId,
      tree,
      packages: { p: { patterns: ['**/*.so', 'x'], prefix: 'P/' } },
    });
    expect(preview).toEqual({
      p: {
        files: [
          { from: 'build-123/bin/lib/libfoo.so', to: 'P/build-123/bin/lib/libfoo.so', bytes: 5120 },
        ],
        unmatchedPatterns: ['x'],
      },
    });
    expect(await git(['count-objects', '-v'], fixture.gitDir)).toBe(before);
  });
});

describe('the difference of two trees', () => {
  it('names what was added, modified and deleted, with sizes', async () => {
    const one = await storeBuild([
      { name: 'same', content: 'same' },
      { name: 'ü\n', content: 'old' },
      { name: 'gone', content: '12345' },
      { name: 'mode', content: 'm' },
      { name: 'kind', content: 'file' },
      { name: 'moved/a', content: 'moved' },
    ]);
    const two = await storeBuild([
      { name: 'same', content: 'same' },
      { name: 'ü\n', content: 'newer' },
      { name: 'mode', content: 'm', mode: 0o755 },
      { name: 'kind', type: '2', target: 'same/x' },
      { name: 'moved/b', content: 'moved' },
    ]);
    const { applicationId } = fixture;
    expect(await fixture.depot.diffTrees({ applicationId, from: one.tree, to: two.tree })).toEqual({
      added: [{ path: 'moved/b', bytes: 5 }],
      modified: [
        { path: 'kind', bytes: 6 },
        { path: 'mode', bytes: 1 },
        { path: 'ü\n', bytes: 5 },
      ],
      deleted: [
        { path: 'gone', bytes: 5 },
        { path: 'moved/a', bytes: 5 },
      ],
    });
    expect(await fixture.depot.diffTrees({ applicationId, from: one.tree, to: one.tree })).toEqual({
      added: [],
      modified: [],
      deleted: [],
    });
  });

  it('is refused for what is no tree of the depot', async () => {
    const { applicationId } = fixture;
    const missing = '1'.repeat(40);
    await failure(
      fixture.depot.diffTrees({ applicationId, from: missing, to: missing.replace('1', '2') }),
      'storage_failed',
    );
    await failure(
      fixture.depot.diffTrees({ applicationId, from: '--output=/tmp/x', to: missing }),
      'internal',
    );
  });
});
