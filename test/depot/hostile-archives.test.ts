import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { beforeAll, describe, expect, it } from 'vitest';
import type { ArchiveLimits, ArchiveType } from '../../src/domain/archive-entry.ts';
import type { ErrorCode } from '../../src/domain/errors.ts';
import {
  pax,
  type TarEntry,
  tar,
  tarEntry,
  tarGz,
  type ZipEntry,
  zip,
} from './archive-builders.ts';
import { bzip2Bomb, bzip2Endless, TAR_BZ2 } from './bzip2-fixtures.ts';
import { type DepotFixture, failure, git, noise, openDepotFixture } from './fixtures.ts';

let fixture: DepotFixture;
let builds = 0;

beforeAll(async () => {
  fixture = await openDepotFixture();
  return fixture.close;
});

async function refused(
  bytes: Buffer,
  fileType: ArchiveType,
  code: ErrorCode,
  limits: Partial<ArchiveLimits> = {},
): Promise<string> {
  builds += 1;
  const error = await failure(
    fixture.depot.ingestBuild({
      applicationId: fixture.applicationId,
      buildId: `refused-${builds}`,
      archivePath: await fixture.spool(bytes),
      fileType,
      limits,
    }),
    code,
  );
  await expectNothingLeft();
  return error.message;
}

async function expectNothingLeft(): Promise<void> {
  expect(await git(['for-each-ref'], fixture.gitDir)).toBe('');
  expect(await readdir(join(fixture.directory, '.tmp'))).toEqual([]);
  expect(await readdir(join(fixture.gitDir, 'objects', 'pack'))).toEqual([]);
}

const good: TarEntry = { name: 'good', content: 'good' };

describe('a tar is refused as unsafe', () => {
  it.each<[string, TarEntry[], string]>([
    ['an absolute name', [{ name: '/etc/passwd' }], '"/etc/passwd"'],
    ['..', [{ name: 'a/../../b' }], '".."'],
    ['.git', [{ name: 'x/.git/config' }], '".git"'],
    ['.gitmodules', [{ name: 'x/.GITMODULES' }], '".gitmodules"'],
    ['an unsafe folder', [{ name: '.git/', type: '5' }], '".git"'],
    ['a folder in old style', [{ name: '../x/' }], '".."'],
    ['an unsafe pax name', [pax({ path: '../../x' }), { name: 'x' }], '".."'],
    [
      'an unsafe GNU long name',
      [{ name: '././@LongLink', type: 'L', content: '/x\0' }, { name: 'x' }],
      'absolute',
    ],
    ['a NUL in a pax name', [pax({ path: 'a\0b' }), { name: 'x' }], 'NUL'],
    ['a name that is no UTF-8', [{ name: Buffer.from([0x61, 0xff]) }], 'UTF-8'],
    ['a link out', [{ name: 'l', type: '2', target: '../x' }], 'leaves the build'],
    ['an absolute link', [{ name: 'l', type: '2', target: '/etc' }], 'absolute path'],
    [
      'an entry below a link',
      [{ name: 'l', type: '2', target: 'd' }, { name: 'l/x' }],
      'through the symbolic link',
    ],
    [
      'a folder below a link',
      [
        { name: 'l', type: '2', target: 'd' },
        { name: 'l/x', type: '5' },
      ],
      'through',
    ],
    [
      'a folder for a link',
      [
        { name: 'l', type: '2', target: 'd' },
        { name: 'l', type: '5' },
      ],
      'link',
    ],
    ['a link for a folder', [{ name: 'l/x' }, { name: 'l', type: '2', target: 'd' }], 'link'],
    ['a hard link out', [{ name: 'h', type: '1', target: '../x' }], '".."'],
    ['a device', [{ name: 'd', type: '3' }], 'a device'],
    ['a block device', [{ name: 'd', type: '4' }], 'a device'],
    ['a FIFO', [{ name: 'd', type: '6' }], 'a FIFO'],
    ['a sparse file', [{ name: 'd', type: 'S' }], 'a sparse file'],
    ['a sparse file in pax', [pax({ 'GNU.sparse.major': '1' }), { name: 'd' }], 'a sparse file'],
    ['a type nobody knows', [{ name: 'd', type: 'Q' }], 'unknown type'],
    [
      'a file in place of the build',
      [{ name: './', type: '2', target: 'x' }],
      'in the place of the build',
    ],
  ])('for %s', async (_, entries, why) => {
    expect(await refused(tarGz([good, ...entries]), 'tar.gz', 'archive_unsafe')).toContain(why);
  });
});

describe('a zip is refused as unsafe', () => {
  it.each<[string, ZipEntry[], string]>([
    ['an absolute name', [{ name: '/etc/passwd' }], 'absolute'],
    ['a drive', [{ name: 'C:\\x', mode: 0o100644 }], 'absolute'],
    ['..', [{ name: 'a/../../b' }], '".."'],
    ['.. by backslashes from DOS', [{ name: '..\\..\\b' }], '".."'],
    ['.. by backslashes from Unix', [{ name: 'x/..\\b', mode: 0o100644 }], '".."'],
    ['.git', [{ name: '.Git/hooks/x' }], '".git"'],
    ['.git by backslash', [{ name: '.git\\config' }], '".git"'],
    ['a NUL', [{ name: 'a\0b' }], 'NUL'],
    ['a name that is no UTF-8', [{ name: Buffer.from([0x61, 0xff]), flags: 0 }], 'UTF-8'],
    ['a link out', [{ name: 'l', content: '../x', mode: 0o120777 }], 'leaves the build'],
    ['an endless link', [{ name: 'l', content: 'x'.repeat(5000), mode: 0o120777 }], 'overlong'],
    [
      'an entry below a link',
      [{ name: 'l', content: 'd', mode: 0o120777 }, { name: 'l/x' }],
      'through',
    ],
    ['a device', [{ name: 'd', mode: 0o020644 }], 'a device'],
    ['a FIFO', [{ name: 'd', mode: 0o010644 }], 'a FIFO'],
    ['a socket', [{ name: 'd', mode: 0o140644 }], 'a socket'],
    [
      'encryption',
      [{ name: 'd', content: 'x'.repeat(20), flags: 1, claimedSizeBytes: 8 }],
      'encrypted',
    ],
  ])('for %s', async (_, entries, why) => {
    expect(await refused(zip([{ name: 'good' }, ...entries]), 'zip', 'archive_unsafe')).toContain(
      why,
    );
  });
});

describe('an archive is refused as broken', () => {
  it.each<[string, ArchiveType, Buffer, string]>([
    ['there is nothing in it', 'tar.gz', tarGz([]), 'no file'],
    ['there are only folders in it', 'tar.gz', tarGz([{ name: 'a/', type: '5' }]), 'no file'],
    ['there is nothing in the zip', 'zip', zip([]), 'no file'],
    ['it is empty', 'zip', Buffer.alloc(0), '0 bytes'],
    [
      'a file is a folder too',
      'tar.gz',
      tarGz([{ name: 'a' }, { name: 'a/b' }]),
      'both a file and a folder',
    ],
    [
      'a folder is a file too',
      'tar.gz',
      tarGz([{ name: 'a/b' }, { name: 'a' }]),
      'both a file and a folder',
    ],
    [
      'a hard link is to nothing',
      'tar.gz',
      tarGz([{ name: 'h', type: '1', target: 'x' }]),
      'no file before it',
    ],
    [
      'a hard link is to a link',
      'tar.gz',
      tarGz([
        { name: 'a/l', type: '2', target: '../x' },
        { name: 'l', type: '1', target: 'a/l' },
      ]),
      'no file before it',
    ],
    [
      'a link has content',
      'tar.gz',
      tarGz([{ name: 'l', type: '2', target: 'x', content: 'y' }]),
      'content',
    ],
    ['it is no tar', 'tar.gz', gzipSync(noise(4096)), 'no tar'],
    ['it is shorter than a tar can be', 'tar.gz', gzipSync('hello'), 'too early'],
    [
      'the end mark of the tar is missing',
      'tar.gz',
      gzipSync(tarEntry(good)),
      'the mark that ends a tar',
    ],
    ['a size is a lie', 'tar.gz', tarGz([{ ...good, claimedSizeBytes: 5000 }]), 'too early'],
    [
      'a pax header is malformed',
      'tar.gz',
      tarGz([{ name: 'x', type: 'x', content: '99 path=x\n' }, good]),
      'malformed',
    ],
    ['a pax size is malformed', 'tar.gz', tarGz([pax({ size: '-1' }), good]), 'malformed'],
    [
      'a pax header is endless',
      'tar.gz',
      tarGz([{ name: 'x', type: 'x', content: Buffer.alloc(1_100_000) }]),
      'longer than any name',
    ],
    [
      'something follows the gzip',
      'tar.gz',
      Buffer.concat([tarGz([good]), Buffer.from('garbage')]),
      'incorrect header',
    ],
    [
      'something follows the bzip2',
      'tar.bz2',
      Buffer.concat([TAR_BZ2, Buffer.from('garbage')]),
      'bzip2',
    ],
    ['a run in the bzip2 has no end', 'tar.bz2', bzip2Endless(), 'a run longer than its block'],
    [
      'something follows the zip',
      'zip',
      Buffer.concat([zip([{ name: 'a' }]), Buffer.from('garbage')]),
      'comment',
    ],
    [
      'a checksum in the zip is wrong',
      'zip',
      zip([{ name: 'a', content: 'x', claimedCrc: 1 }]),
      'checksum',
    ],
    [
      'a deflated file in the zip is longer than it says',
      'zip',
      zip([{ name: 'a', content: 'xxx', isDeflated: true, claimedSizeBytes: 1 }]),
      'too many bytes',
    ],
    [
      'a deflated file in the zip is shorter than it says',
      'zip',
      zip([{ name: 'a', content: 'xxx', isDeflated: true, claimedSizeBytes: 9 }]),
      'not enough bytes',
    ],
    [
      'a stored file in the zip is not of its size',
      'zip',
      zip([{ name: 'a', content: 'xxx', claimedSizeBytes: 9 }]),
      'size mismatch',
    ],
    [
      'a method in the zip is unknown',
      'zip',
      zip([{ name: 'a', content: 'x', method: 12 }]),
      'deflate',
    ],
  ])('when %s', async (_, fileType, bytes, why) => {
    expect(await refused(bytes, fileType, 'archive_broken')).toContain(why);
  });

  const content = noise(40_000);
  const whole: readonly (readonly [ArchiveType, Buffer])[] = [
    [
      'zip',
      zip([
        { name: 'a', content, isDeflated: true },
        { name: 'b', content: 'b' },
      ]),
    ],
    [
      'tar.gz',
      tarGz([
        { name: 'a', content },
        { name: 'b', content: 'b' },
      ]),
    ],
    ['tar.bz2', TAR_BZ2],
  ];

  it.each(whole)('when a %s is cut off, wherever that is', async (fileType, bytes) => {
    const lengths = [2, 5, 0.1, 0.5, 0.9].map((at) => Math.floor(at < 1 ? at * bytes.length : at));
    for (const length of [...lengths, bytes.length - 10, bytes.length - 1]) {
      await refused(bytes.subarray(0, length), fileType, 'archive_broken');
    }
  });

  it('when a bit of the bzip2 has flipped', async () => {
    for (const at of [6, 20, 60, TAR_BZ2.length - 3]) {
      const flipped = Buffer.from(TAR_BZ2);
      flipped[at] = (flipped[at] ?? 0) ^ 0x10;
      await refused(flipped, 'tar.bz2', 'archive_broken');
    }
  });

  it('when a tar is cut off inside an intact gzip', async () => {
    const bytes = tar([{ name: 'a', content }, good]);
    for (const length of [100, 700, 20_000, 40_960]) {
      await refused(gzipSync(bytes.subarray(0, length)), 'tar.gz', 'archive_broken');
    }
  });
});

describe('an archive is refused as of the wrong type', () => {
  it.each<[ArchiveType, Buffer, string]>([
    ['tar.gz', zip([{ name: 'a' }]), 'a zip file'],
    ['zip', tarGz([good]), 'a gzip file'],
    ['zip', TAR_BZ2, 'a bzip2 file'],
    ['tar.bz2', tar([good]), 'neither'],
  ])('when it was announced as %s', async (fileType, bytes, found) => {
    expect(await refused(bytes, fileType, 'archive_wrong_type')).toContain(found);
  });
});

describe('an archive is refused as too large', () => {
  const many = Array.from({ length: 11 }, (_, index) => ({ name: `f${index}`, content: 'x' }));
  const zeros = Buffer.alloc(70 * 1024 ** 2);

  it.each<[string, ArchiveType, () => Buffer, Partial<ArchiveLimits>, string]>([
    ['a tar of many entries', 'tar.gz', () => tarGz(many), { maxEntries: 10 }, '10 entries'],
    ['a zip of many entries', 'zip', () => zip(many), { maxEntries: 10 }, '10 entries'],
    [
      'a tar of many bytes',
      'tar.gz',
      () => tarGz([{ name: 'a', content: noise(9000) }]),
      { maxUnpackedBytes: 8000 },
      '8000 bytes',
    ],
    [
      'a zip of many bytes',
      'zip',
      () => zip([{ name: 'a', content: noise(9000) }]),
      { maxUnpackedBytes: 8000 },
      '8000 bytes',
    ],
    [
      'hard links to much',
      'tar.gz',
      () =>
        tarGz([
          { name: 'a', content: noise(9000) },
          ...many.map(({ name }) => ({ name, type: '1', target: 'a' })),
        ]),
      { maxUnpackedBytes: 50_000 },
      '50000 bytes',
    ],
    [
      'a gzip bomb',
      'tar.gz',
      () => tarGz([{ name: 'a', content: zeros }]),
      { maxRatio: 100 },
      '100 times',
    ],
    [
      'a zip bomb',
      'zip',
      () => zip([{ name: 'a', content: zeros, isDeflated: true }]),
      { maxRatio: 100 },
      '100 times',
    ],
    ['a bzip2 bomb', 'tar.bz2', bzip2Bomb, {}, '1000 times'],
  ])('for %s', async (_, fileType, bytes, limits, why) => {
    expect(await refused(bytes(), fileType, 'archive_too_large', limits)).toContain(why);
  });
});

it('what is refused could be read otherwise: the tar of the fixtures is one', () => {
  expect(gunzipSync(tarGz([good])).equals(tar([good]))).toBe(true);
});
