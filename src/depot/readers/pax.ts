import { brokenArchive, unsafeEntry } from '../../domain/archive-entry.ts';
import { decodeName } from './strict-text.ts';

/** What headers before a tar member say about it, in place of what its own header has no room for. */
export interface Extension {
  readonly path?: string;
  readonly linkPath?: string;
  readonly sizeBytes?: number;
}

export const EMPTY_EXTENSION: Extension = {};

/**
 * Reads the records `<length> <key>=<value>\n` of a pax header.
 * By their lengths in bytes, not by lines: a name may hold a line feed. Source: POSIX pax, "Extended Header".
 * @throws {AppError} `archive_broken` if a record is malformed, `archive_unsafe` for a sparse file, whose content is not what it seems
 */
export function applyPaxRecords(before: Extension, body: Buffer): Extension {
  let extension = before;
  for (let start = 0; start < body.length; ) {
    const space = body.indexOf(0x20, start);
    const digits = space === -1 ? '' : body.toString('latin1', start, space);
    const end = start + Number(digits);
    if (!/^[1-9][0-9]{0,9}$/.test(digits) || end > body.length || body[end - 1] !== 0x0a)
      throw malformed();
    const equals = body.indexOf(0x3d, space);
    if (equals === -1 || equals >= end) throw malformed();
    const key = body.toString('latin1', space + 1, equals);
    extension = applyRecord(extension, key, body.subarray(equals + 1, end - 1));
    start = end;
  }
  return extension;
}

function applyRecord(before: Extension, key: string, value: Buffer): Extension {
  if (key.startsWith('GNU.sparse.')) {
    const name = key === 'GNU.sparse.name' ? value.toString('utf8') : (before.path ?? key);
    throw unsafeEntry(name, 'is a sparse file, which is not supported');
  }
  if (key === 'path') return { ...before, path: decodeName(value) };
  if (key === 'linkpath') return { ...before, linkPath: decodeName(value) };
  if (key === 'size') {
    const text = value.toString('latin1');
    if (!/^[0-9]{1,15}$/.test(text)) throw malformed();
    return { ...before, sizeBytes: Number(text) };
  }
  return before;
}

function malformed(): Error {
  return brokenArchive('an extended header in it is malformed');
}
