import { mkdir, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { createRandom, type Random } from '../../test/chaos/random.ts';
import type { BuildShape } from './build-kind.ts';

const WORDS = (
  'account address batch branch build cache class client clone commit connection const count default deploy else ' +
  'error event export file filter folder from function group handler head import index install interface item job key ' +
  'length level limit list load lock map merge message name number object option order package page path pause plan ' +
  'point process queue read record release request result return role row script server service session start state ' +
  'status step store stream string switch table target text token tree type update user value version wait worker write'
).split(' ');
const LINE_BYTES = 64;
const FILES_IN_FOLDER = 25;

/** Where a file of a build stands: below `bin`, `conf`, `lib`, `share` or `web`, so that package maps can cut it. */
function pathOfFile(index: number): string {
  const part = ['bin', 'conf', 'lib', 'share', 'web'][index % 5] ?? 'bin';
  const folder = Math.floor(index / 5 / FILES_IN_FOLDER);
  return join(part, `part-${folder}`, `file-${index}.txt`);
}

/** Writes all files of the first version. The same shape gives the same files, byte for byte. */
export async function writeBuild(directory: string, shape: BuildShape): Promise<void> {
  for (let index = 0; index < shape.files; index += 1) {
    const path = join(directory, pathOfFile(index));
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, contentOf(index, shape, 0));
  }
}

/**
 * Writes files anew as they are in a later version: some of their lines are other ones. The old file is removed
 * first, as it may be a hard link that another version shares.
 */
export async function rewriteFiles(
  directory: string,
  shape: BuildShape,
  change: { readonly indexes: readonly number[]; readonly version: number },
): Promise<void> {
  for (const index of change.indexes) {
    const path = join(directory, pathOfFile(index));
    await rm(path, { force: true });
    await writeFile(path, contentOf(index, shape, change.version));
  }
}

/** A file is told by its number and the version that changed it last. */
function contentOf(index: number, shape: BuildShape, version: number): Buffer {
  const random = createRandom(index + 1);
  const changes = createRandom((version + 1) * 1_000_003 + index);
  const sizeBytes = Math.round(shape.meanBytes * random.between(1 / 3, 5 / 3));
  const isBinary = index % 100 < shape.binaryPercent;
  const isOther = (): boolean => version > 0 && changes.whole(100) < shape.changedPercent;
  const pieces: Buffer[] = [];
  for (let written = 0; written < sizeBytes; written += LINE_BYTES) {
    const own = isBinary ? noise(random) : line(random);
    pieces.push(isOther() ? (isBinary ? noise(changes) : line(changes)) : own);
  }
  return Buffer.concat(pieces).subarray(0, sizeBytes);
}

function line(random: Random): Buffer {
  let text = '';
  while (text.length < LINE_BYTES) text += `${random.pick(WORDS)} `;
  return Buffer.from(`${text.slice(0, LINE_BYTES - 1)}\n`);
}

function noise(random: Random): Buffer {
  const bytes = Buffer.alloc(LINE_BYTES);
  for (let at = 0; at < LINE_BYTES; at += 4) bytes.writeUInt32LE(random.whole(2 ** 32), at);
  return bytes;
}
