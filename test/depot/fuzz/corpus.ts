import { buffer } from 'node:stream/consumers';
import { gzipSync } from 'node:zlib';
import { TarArchive, ZipArchive } from 'archiver';
import type { ArchiveType } from '../../../src/domain/archive-entry.ts';
import { pax, type TarEntry, tar, zip } from '../archive-builders.ts';
import { TAR_BZ2 } from '../bzip2-fixtures.ts';
import { noise } from '../fixtures.ts';

/** A valid archive. `pack` closes what is mutated inside of it: a tar is changed before it is compressed. */
export interface Seed {
  readonly name: string;
  readonly fileType: ArchiveType;
  readonly bytes: Buffer;
  pack(bytes: Buffer): Buffer;
}

const asIs = (bytes: Buffer): Buffer => bytes;
/** Fast, and as good as any other: the compression itself is mutated elsewhere. */
const stored = (bytes: Buffer): Buffer => gzipSync(bytes, { level: 0 });

const LONG = `${'long-name/'.repeat(12)}file`;
const MEMBERS: readonly TarEntry[] = [
  { name: 'bin/', type: '5' },
  { name: 'bin/app', content: noise(1500), mode: 0o755 },
  { name: 'README', content: 'read me\n' },
  { name: 'link', type: '2', target: 'bin/app' },
  { name: 'copy', type: '1', target: 'README' },
  pax({ path: `${LONG}-ü`, comment: 'x' }),
  { name: 'short', content: 'pax' },
  pax({ size: '5', linkpath: 'README' }),
  { name: 'sized', content: 'sized' },
  { name: '././@LongLink', type: 'L', content: `${LONG}\0` },
  { name: 'short', content: 'gnu' },
  { name: '././@LongLink', type: 'K', content: 'bin/app\0' },
  { name: 'far', type: '2', target: 'short' },
  { name: 'global', type: 'g', content: '20 comment=whatever\n' },
  { name: 'empty/', type: '5' },
  { name: '.env', content: '' },
];
const ZIPPED = [
  { name: 'bin/', mode: 0o040755 },
  { name: 'bin/app', content: noise(1500), mode: 0o100755, isDeflated: true },
  { name: 'README', content: 'read me\n'.repeat(50), mode: 0o100644, isDeflated: true },
  { name: 'link', content: 'bin/app', mode: 0o120777 },
  { name: 'dos\\name', content: 'x' },
  { name: 'ü.t', content: '' },
];

/** All formats, by our own builders and by another writer. */
export async function makeCorpus(): Promise<readonly Seed[]> {
  const whole = (name: string, fileType: ArchiveType, bytes: Buffer): Seed => ({
    name,
    fileType,
    bytes,
    pack: asIs,
  });
  const inside = (name: string, bytes: Buffer): Seed => ({
    name,
    fileType: 'tar.gz',
    bytes,
    pack: stored,
  });
  const plain = tar(MEMBERS);
  const written = await buffer(fill(new TarArchive({})));
  return [
    whole('gzip', 'tar.gz', gzipSync(plain)),
    whole(
      'gzip, two members',
      'tar.gz',
      Buffer.concat([gzipSync(plain.subarray(0, 1000)), gzipSync(plain.subarray(1000))]),
    ),
    inside('tar', plain),
    inside('tar by archiver', written),
    whole('bzip2', 'tar.bz2', TAR_BZ2),
    whole('bzip2, two streams', 'tar.bz2', Buffer.concat([TAR_BZ2, TAR_BZ2])),
    whole('zip', 'zip', zip(ZIPPED)),
    whole('zip by archiver', 'zip', await buffer(fill(new ZipArchive({})))),
    whole('zip64', 'zip', await buffer(fill(new ZipArchive({ forceZip64: true })))),
  ];
}

function fill<A extends TarArchive | ZipArchive>(archive: A): A {
  archive.append(noise(3000), { name: 'bin/app', mode: 0o755 });
  archive.append('text\n'.repeat(200), { name: `${LONG}.txt` });
  archive.append('', { name: 'empty' });
  archive.symlink('link', 'bin/app');
  void archive.finalize();
  return archive;
}
