import { chmod, mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { crc32 } from 'node:zlib';
import { ZipArchive } from 'archiver';
import { beforeAll, describe, expect, it } from 'vitest';
import { openDepot } from '../../src/depot/depot.ts';
import type { ArchiveType } from '../../src/domain/archive-entry.ts';
import { pax, tarGz, type ZipEntry, zip } from './archive-builders.ts';
import { TAR_BZ2 } from './bzip2-fixtures.ts';
import { type DepotFixture, failure, filter, git, noise, openDepotFixture } from './fixtures.ts';
import { UNGUARDED } from './unguarded.ts';

const { PATH } = process.env;

let fixture: DepotFixture;
let builds = 0;

beforeAll(async () => {
  fixture = await openDepotFixture();
  return fixture.close;
});

async function ingest(bytes: Buffer, fileType: ArchiveType, buildId = `build-${++builds}`) {
  return await fixture.depot.ingestBuild({
    applicationId: fixture.applicationId,
    buildId,
    archivePath: await fixture.spool(bytes),
    fileType,
  });
}

/** `<mode> <path>` of each file. */
async function modesAndPaths(tree: string): Promise<string[]> {
  const found: string[] = [];
  for await (const { mode, path } of fixture.depot.listFiles(fixture.applicationId, tree)) {
    found.push(`${mode} ${path}`);
  }
  return found;
}

async function content(tree: string, path: string): Promise<string> {
  return await git(['cat-file', 'blob', `${tree}:${path}`], fixture.gitDir);
}

describe('a build', () => {
  it('has the tree that "git add" makes of the same files, from a zip as from a tar', async () => {
    const folder = fixture.path('work');
    const files = {
      'a.txt': 'a',
      'bin/run': '#!/bin/sh\n',
      'ü "q" \\ b/\n': 'odd',
      'a-b/c': '',
      'a/b': 'x',
      [`deep/${'x'.repeat(200)}/${'y'.repeat(200)}`]: 'long',
    };
    for (const [name, text] of Object.entries(files)) {
      await mkdir(dirname(join(folder, name)), { recursive: true });
      await writeFile(join(folder, name), text);
    }
    await chmod(join(folder, 'bin/run'), 0o755);
    await symlink('../a.txt', join(folder, 'bin/link'));
    await git(['init', '-q'], folder);
    await git(['add', '-A'], folder);
    const expected = await git(['write-tree'], folder);

    const entries = Object.entries(files).map(([name, text]) => ({
      name,
      content: text,
      mode: name === 'bin/run' ? 0o100755 : 0o100644,
    }));
    const asZip = zip([...entries, { name: 'bin/link', content: '../a.txt', mode: 0o120777 }]);
    const names = [...Object.keys(files), 'bin/link'].join('\0');
    const tarOf = async (...format: string[]) =>
      await filter('tar', ['-C', folder, ...format, '--null', '-T', '-', '-c'], Buffer.from(names));
    const gzip = async (bytes: Buffer) => await filter('gzip', ['-c'], bytes);
    const archives: [ArchiveType, Buffer][] = [
      ['zip', asZip],
      ['tar.gz', await gzip(await tarOf('--format=gnu'))],
      ['tar.gz', await gzip(await tarOf('--format=posix'))],
    ];
    for (const [fileType, bytes] of archives) {
      expect(await ingest(bytes, fileType)).toMatchObject({
        tree: expected,
        files: 7,
        emptyDirectories: [],
        caseCollisions: [],
      });
    }
  });

  it('can come as tar.bz2, with its modes and links', async () => {
    const build = await ingest(TAR_BZ2, 'tar.bz2');
    expect(await modesAndPaths(build.tree)).toEqual(['120000 l', '100644 lib/a.txt', '100755 run']);
    expect(await content(build.tree, 'lib/a.txt')).toBe('hello bzip2');
    expect(await content(build.tree, 'l')).toBe('lib/a.txt');
    expect(build).toMatchObject({ files: 3, bytes: 40 });
  });

  it('can come as several bzip2 streams in a row', async () => {
    const empty = Buffer.from('425a683917724538509000000000', 'hex');
    const build = await ingest(Buffer.concat([empty, TAR_BZ2, empty]), 'tar.bz2');
    expect(build.files).toBe(3);
  });

  it('can come as several gzip streams in a row, padded with zeros', async () => {
    const bytes = tarGz([{ name: 'a', content: noise(100_000) }]);
    const more = await filter('gzip', ['-c'], Buffer.alloc(512));
    expect((await ingest(Buffer.concat([bytes, more, Buffer.alloc(700)]), 'tar.gz')).files).toBe(1);
  });

  it('tells what git cannot hold and what differs only in case', async () => {
    const build = await ingest(
      tarGz([
        { name: './', type: '5' },
        { name: 'empty/', type: '5' },
        { name: 'outer/', type: '5' },
        { name: 'outer/inner/', type: '5' },
        { name: 'full/', type: '5' },
        { name: 'full/README' },
        { name: 'full/readme' },
        { name: 'full/ReadMe' },
        { name: 'Full/other' },
        { name: 'caf\u00e9' },
        { name: 'cafe\u0301' },
      ]),
      'tar.gz',
    );
    expect(build.emptyDirectories).toEqual(['empty', 'outer/inner']);
    expect(build.caseCollisions).toEqual([
      ['full/README', 'full/ReadMe', 'full/readme'],
      ['cafe\u0301', 'caf\u00e9'],
    ]);
  });

  it('takes the last of several entries with one name, and counts it once', async () => {
    const twice = [
      { name: 'a', content: 'first', mode: 0o755 },
      { name: 'b', content: 'x' },
      { name: './a', content: 'second!' },
    ];
    const build = await ingest(tarGz(twice), 'tar.gz');
    expect(await content(build.tree, 'a')).toBe('second!');
    expect(await modesAndPaths(build.tree)).toEqual(['100644 a', '100644 b']);
    expect(build).toMatchObject({ files: 2, bytes: 8 });
  });

  it('holds copies for hard links', async () => {
    const build = await ingest(
      tarGz([
        { name: 'bin/tool', content: 'tool', mode: 0o755 },
        { name: 'sbin/"tool"', type: '1', target: './bin/tool' },
        { name: 'bin/tool', type: '1', target: 'bin/tool' },
      ]),
      'tar.gz',
    );
    expect(await modesAndPaths(build.tree)).toEqual(['100755 bin/tool', '100755 sbin/"tool"']);
    expect(await content(build.tree, 'sbin/"tool"')).toBe('tool');
    expect(build).toMatchObject({ files: 2, bytes: 8 });
  });

  it('takes long and odd names from pax and GNU headers by their bytes', async () => {
    const long = `${'ü'.repeat(120)}/`.repeat(10);
    const build = await ingest(
      tarGz([
        pax({ path: 'new\nline', comment: 'x' }),
        { name: 'short', content: '1' },
        pax({ path: `${long}pax` }),
        { name: 'short', content: '2' },
        { name: '././@LongLink', type: 'L', content: `${long}gnu\0` },
        { name: 'short', content: '3' },
        { name: '././@LongLink', type: 'K', content: `${'../'.repeat(10)}new\nline\0` },
        pax({ path: `${long}link` }),
        { name: 'short', type: '2', target: 'short' },
        { name: 'comment', type: 'g', content: '20 comment=whatever\n' },
        { name: 'plain', content: '4' },
      ]),
      'tar.gz',
    );
    expect(await modesAndPaths(build.tree)).toEqual([
      '100644 new\nline',
      '100644 plain',
      `100644 ${long}gnu`,
      `120000 ${long}link`,
      `100644 ${long}pax`,
    ]);
  });

  it('takes names of zips from Windows and in code pages as they were meant', async () => {
    const name = Buffer.from([0x81, 0x2e, 0x74]);
    const checksum = Buffer.alloc(4);
    checksum.writeUInt32LE(crc32(name));
    const unicodePath = Buffer.concat([
      Buffer.from([0x75, 0x70, 9, 0, 1]),
      checksum,
      Buffer.from('ü.t'),
    ]);
    const inCodePage: ZipEntry = { name, flags: 0, extra: unicodePath };
    inCodePage.extra?.writeUInt32LE(
      (await import('node:zlib')).crc32(Buffer.from(inCodePage.name)),
      5,
    );
    const build = await ingest(
      zip([{ name: 'bin\\app.dll', content: 'x' }, { name: 'a/b' }, inCodePage]),
      'zip',
    );
    expect(await modesAndPaths(build.tree)).toEqual([
      '100644 a/b',
      '100644 bin/app.dll',
      '100644 ü.t',
    ]);
  });

  it('can be a zip with data descriptors, as writers of streams make it', async () => {
    const folder = fixture.path('zipped');
    await mkdir(folder);
    await writeFile(join(folder, 'a.txt'), noise(300_000));
    await writeFile(join(folder, 'b.txt'), 'b'.repeat(1000));
    const bytes = await filter(
      'sh',
      ['-c', `cd "$0" && zip -q -fd -r - . | cat`, folder],
      Buffer.alloc(0),
    );
    const build = await ingest(bytes, 'zip');
    expect(build).toMatchObject({ files: 2, bytes: 301_000 });
  });

  it('can be a zip64, with its modes and links', async () => {
    const archive = new ZipArchive({ forceZip64: true });
    archive.append('#!/bin/sh\n', { name: 'bin/run', mode: 0o755 });
    archive.append(noise(100_000), { name: 'large' });
    archive.symlink('link', 'bin/run');
    const [bytes] = await Promise.all([buffer(archive), archive.finalize()]);
    // The record that only a zip64 has.
    expect(bytes.includes('PK\x06\x06', 0, 'latin1')).toBe(true);
    const build = await ingest(bytes, 'zip');
    expect(await modesAndPaths(build.tree)).toEqual([
      '100755 bin/run',
      '100644 large',
      '120000 link',
    ]);
    expect(build.bytes).toBe(10 + 100_000 + 7);
  });

  it.each(['zip', 'tar.gz'] as const)(
    'keeps names in any script as they are in a %s, and tells those that some systems take for one',
    async (fileType) => {
      const names = ['\u{1f680}/Ελλάδα', 'u\u0308.txt', 'ü.txt', '日本語.txt', 'Ø', 'ß', 'SS'];
      const entries = names.map((name) => ({ name, content: name }));
      const build = await ingest(fileType === 'zip' ? zip(entries) : tarGz(entries), fileType);
      const paths = (await modesAndPaths(build.tree)).map((line) => line.slice(7));
      expect(paths.toSorted()).toEqual(names.toSorted());
      expect(build.caseCollisions).toEqual([['ü.txt', 'u\u0308.txt'].toSorted()]);
    },
  );

  it('has a file over the streaming threshold byte by byte', async () => {
    const large = noise(20 * 1024 ** 2);
    const build = await ingest(
      tarGz([
        { name: 'large', content: large },
        { name: 'next', content: 'n' },
      ]),
      'tar.gz',
    );
    const id = await filter('git', ['hash-object', '--stdin'], large);
    expect(await git(['rev-parse', `${build.tree}:large`], fixture.gitDir)).toBe(
      id.toString().trim(),
    );
  });

  it('is the same when it is stored again, and shares its content with other builds', async () => {
    const bytes = tarGz([
      { name: 'same', content: noise(200_000) },
      { name: 'v', content: '1' },
    ]);
    const first = await ingest(bytes, 'tar.gz', 'again');
    const sizeBefore = await packedKibibytes();
    expect(await ingest(bytes, 'tar.gz', 'again')).toEqual(first);
    await ingest(
      tarGz([
        { name: 'same', content: noise(200_000) },
        { name: 'v', content: '2' },
      ]),
      'tar.gz',
    );
    expect((await packedKibibytes()) - sizeBefore).toBeLessThan(20);
  });

  it('reports how far it is, and last of all the whole', async () => {
    const seen: unknown[] = [];
    const entries = Array.from({ length: 1200 }, (_, index) => ({
      name: `f${index}`,
      content: 'x',
    }));
    await fixture.depot.ingestBuild({
      applicationId: fixture.applicationId,
      buildId: 'progress',
      archivePath: await fixture.spool(tarGz(entries)),
      fileType: 'tar.gz',
      onProgress: (progress) => seen.push(progress),
    });
    expect(seen).toEqual([
      { files: 500, bytes: 500 },
      { files: 1000, bytes: 1000 },
      { files: 1200, bytes: 1200 },
    ]);
  });

  it('leaves no trace when it is deleted, and deleting it again is no error', async () => {
    await ingest(tarGz([{ name: 'a' }]), 'tar.gz', 'to-delete');
    const before = await refCount();
    await fixture.depot.deleteBuild(fixture.applicationId, 'to-delete');
    await fixture.depot.deleteBuild(fixture.applicationId, 'to-delete');
    expect(await refCount()).toBe(before - 1);
  });
});

describe('storing a build', () => {
  it('ends with the reason of its signal and leaves nothing', async () => {
    const abort = new AbortController();
    const reason = new Error('the job was cancelled');
    const refs = await refCount();
    const entries = Array.from({ length: 3000 }, (_, index) => ({
      name: `f${index}`,
      content: 'x',
    }));
    const work = fixture.depot.ingestBuild({
      applicationId: fixture.applicationId,
      buildId: 'aborted',
      archivePath: await fixture.spool(tarGz(entries)),
      fileType: 'tar.gz',
      signal: abort.signal,
      onProgress: () => abort.abort(reason),
    });
    await expect(work).rejects.toBe(reason);
    expect(await refCount()).toBe(refs);
    expect(await readdir(join(fixture.directory, '.tmp'))).toEqual([]);
  });

  it('fails with words when the upload or the repository is not there', async () => {
    const options = {
      buildId: 'x',
      fileType: 'zip',
      archivePath: fixture.path('missing'),
    } as const;
    await failure(
      fixture.depot.ingestBuild({ ...options, applicationId: fixture.applicationId }),
      'storage_failed',
    );
    const archivePath = await fixture.spool(zip([{ name: 'a' }]));
    await failure(
      fixture.depot.ingestBuild({ ...options, archivePath, applicationId: 'unknown' }),
      'storage_failed',
    );
  });

  it.each([
    ['fatal: write error: No space left on device', 'is full'],
    ['fatal: something else', 'something else'],
  ])('tells why when git dies in the middle with "%s"', async (lastWords, message) => {
    const searchPath = fixture.path(`dying-git-${message}`);
    await mkdir(searchPath);
    const script = `#!/bin/sh\ncase "$*" in *fast-import*) head -c 9999 >/dev/null; echo '${lastWords}' >&2; exit 128;; esac\nPATH='${PATH}' exec git "$@"\n`;
    await writeFile(join(searchPath, 'git'), script, { mode: 0o755 });
    const depot = await openDepot({
      directory: fixture.directory,
      searchPath: `${searchPath}:${PATH}`,
      guard: UNGUARDED,
    });
    const refs = await refCount();
    const error = await failure(
      depot.ingestBuild({
        applicationId: fixture.applicationId,
        buildId: 'dying',
        archivePath: await fixture.spool(tarGz([{ name: 'a', content: noise(3_000_000) }])),
        fileType: 'tar.gz',
      }),
      'storage_failed',
    );
    expect(error.message).toContain(message);
    expect(await refCount()).toBe(refs);
    expect(await readdir(join(fixture.directory, '.tmp'))).toEqual([]);
  });
});

describe('a depot', () => {
  it('makes and removes repositories, however often it is asked', async () => {
    const { depot, directory } = fixture;
    await Promise.all([depot.createRepository('other'), depot.createRepository('other')]);
    expect(await git(['fsck', '--strict', '--no-dangling'], join(directory, 'other.git'))).toBe('');
    await depot.removeRepository('other');
    await depot.removeRepository('other');
    expect(await readdir(directory)).not.toContain('other.git');
    await failure(depot.createRepository('../evil'), 'internal');
  });

  it("is sound by git's own check after all this", async () => {
    expect(await git(['fsck', '--full', '--strict', '--no-dangling'], fixture.gitDir)).toBe('');
  });

  it('does not open without git, and says so', async () => {
    const directory = fixture.path('no-git');
    const error = await failure(
      openDepot({ directory, searchPath: '/nonexistent', guard: UNGUARDED }),
      'storage_failed',
    );
    expect(error.message).toContain('Git could not be started');
  });

  it('does not open with a git that is too old, and says which it needs', async () => {
    const searchPath = fixture.path('old-git');
    await mkdir(searchPath);
    await writeFile(join(searchPath, 'git'), '#!/bin/sh\necho git version 2.19.6\n', {
      mode: 0o755,
    });
    const error = await failure(
      openDepot({ directory: fixture.path('old'), searchPath, guard: UNGUARDED }),
      'storage_failed',
    );
    expect(error.message).toContain('2.20');
    expect(error.message).toContain('2.19.6');
  });

  it('clears what a crash left behind once it is a day old', async () => {
    const temporary = join(fixture.directory, '.tmp');
    await mkdir(join(temporary, 'quarantine-old'));
    await writeFile(join(temporary, 'pack-new'), '');
    await filter('touch', ['-d', '2 days ago', join(temporary, 'quarantine-old')], Buffer.alloc(0));
    await openDepot({ directory: fixture.directory, guard: UNGUARDED });
    expect(await readdir(temporary)).toEqual(['pack-new']);
  });

  it('gets over a lock on its refs that a killed git left', async () => {
    await ingest(tarGz([{ name: 'a' }]), 'tar.gz', 'locked');
    const lock = join(fixture.gitDir, 'packed-refs.lock');
    await writeFile(lock, '');
    await failure(fixture.depot.deleteBuild(fixture.applicationId, 'locked'), 'storage_failed');
    await filter('touch', ['-d', '1 hour ago', lock], Buffer.alloc(0));
    await fixture.depot.deleteBuild(fixture.applicationId, 'locked');
    await expect(readFile(lock)).rejects.toThrow('ENOENT');
  });
});

async function refCount(): Promise<number> {
  const refs = await git(['for-each-ref'], fixture.gitDir);
  return refs === '' ? 0 : refs.split('\n').length;
}

async function packedKibibytes(): Promise<number> {
  const counts = await git(['count-objects', '-v'], fixture.gitDir);
  return Number(/size-pack: (\d+)/.exec(counts)?.[1]);
}
