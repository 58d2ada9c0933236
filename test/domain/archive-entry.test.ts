import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  archiveTypeOf,
  assertArchiveType,
  normalizeEntryName,
  normalizePath,
  unsafeLinkReason,
  unsafePathReason,
} from '../../src/domain/archive-entry.ts';

describe('the type of an archive', () => {
  it.each([
    ['zip', [0x50, 0x4b, 3, 4]],
    ['zip', [0x50, 0x4b, 5, 6]],
    ['gzip', [0x1f, 0x8b, 8, 0]],
    ['bzip2', [0x42, 0x5a, 0x68, 0x39]],
    [null, [0x42, 0x5a, 0x68, 0x30]],
    [null, [0x50, 0x4b, 1, 2]],
    [null, [0x75, 0x73, 0x74, 0x61]],
    [null, []],
  ])('is %s by its first bytes %j', (type, bytes) => {
    expect(archiveTypeOf(Uint8Array.from(bytes))).toBe(type);
  });

  it('is refused when another one was announced, and told', () => {
    expect(() => assertArchiveType(Buffer.from('PK\x03\x04'), 'tar.gz')).toThrow(
      expect.objectContaining({
        code: 'archive_wrong_type',
        message: expect.stringContaining('a zip file'),
      }),
    );
    expect(() => assertArchiveType(Buffer.from('<htm'), 'zip')).toThrow(
      expect.objectContaining({ code: 'archive_wrong_type' }),
    );
    expect(() => assertArchiveType(Buffer.alloc(0), 'zip')).toThrow(
      expect.objectContaining({ code: 'archive_broken' }),
    );
    expect(() => assertArchiveType(Buffer.from('BZh9'), 'tar.bz2')).not.toThrow();
  });
});

describe('the name of an archive entry', () => {
  it.each([
    ['a/b', 'a/b'],
    ['./a//b/', 'a/b'],
    ['a/./b/.', 'a/b'],
    ['./', ''],
    ['.', ''],
    ['..a/b..', '..a/b..'],
    ['.gitignore', '.gitignore'],
    ['.github/x', '.github/x'],
    ['a.git/config', 'a.git/config'],
    ['git/x', 'git/x'],
    ['git~2', 'git~2'],
    ['.gitattributes', '.gitattributes'],
    ['.env', '.env'],
    ['a\\b', 'a\\b'],
    ['C:relative', 'C:relative'],
    ['new\nline', 'new\nline'],
    ['backup~1', 'backup~1'],
    ['ü/日本', 'ü/日本'],
    ['x'.repeat(255), 'x'.repeat(255)],
  ])('%j is stored as %j', (name, stored) => {
    expect(normalizeEntryName(name)).toBe(stored);
  });

  it.each([
    ['/etc/passwd', 'absolute'],
    ['C:\\windows', 'absolute'],
    ['c:/windows', 'absolute'],
    ['\\\\server\\share', 'absolute'],
    ['\\x', 'absolute'],
    ['.//./\\x', 'absolute'],
    ['./C:\\x', 'absolute'],
    ['..', '".."'],
    ['../x', '".."'],
    ['a/../../x', '".."'],
    ['a/..', '".."'],
    ['..\\x', '".."'],
    ['a\\..\\..\\x', '".."'],
    ['a\\../x', '".."'],
    ['a\0b', 'NUL'],
    ['a\ud800b', 'Unicode'],
    ['.git/config', '.git'],
    ['a/.git', '.git'],
    ['.GIT/x', '.git'],
    ['.Git', '.git'],
    ['git~1/x', '.git'],
    ['GIT~1', '.git'],
    ['.git /x', '.git'],
    ['.git./x', '.git'],
    ['.git. . ', '.git'],
    ['.git::$INDEX_ALLOCATION/x', '.git'],
    ['.git:stream', '.git'],
    ['.g\u200cit/x', '.git'],
    ['\ufeff.git', '.git'],
    ['.gi\u206at', '.git'],
    ['a\\.git\\x', '.git'],
    ['.gitmodules', '.gitmodules'],
    ['a/.gitmodules', '.gitmodules'],
    ['.GitModules', '.gitmodules'],
    ['.gitmodules .', '.gitmodules'],
    ['.gitmodules:$DATA', '.gitmodules'],
    ['.gitm\u200dodules', '.gitmodules'],
    ['GITMOD~1', '.gitmodules'],
    ['gitmod~4', '.gitmodules'],
    ['gi7eba~1', '.gitmodules'],
    ['GI7EB~10', '.gitmodules'],
    ['~1000000', '.gitmodules'],
    ['x'.repeat(256), '255'],
    ['x/'.repeat(2100), '4096'],
  ])('%j is refused: %s', (name, why) => {
    expect(() => normalizeEntryName(name)).toThrow(
      expect.objectContaining({ code: 'archive_unsafe', message: expect.stringContaining(why) }),
    );
  });

  it('is named in the error, together with the reason', () => {
    expect(() => normalizeEntryName('a/../b')).toThrow(
      expect.objectContaining({ details: { entry: 'a/../b', reason: 'has ".." in its name' } }),
    );
  });

  const component = fc.oneof(
    fc.constantFrom('', '.', '..', '.git', '.GIT ', 'a', '\\', '..\\', 'C:', '.gitmodules', '\0'),
    fc.string({ unit: 'binary', maxLength: 8 }),
  );
  const name = fc.array(component, { maxLength: 6 }).map((parts) => parts.join('/'));

  it('never leaves the build nor touches .git, whatever it was', () => {
    fc.assert(
      fc.property(name, (raw) => {
        if (unsafePathReason(raw) !== null) return;
        const parts = normalizePath(raw).split(/[/\\]/);
        expect(parts).not.toContain('..');
        expect(parts.map((part) => part.toLowerCase())).not.toContain('.git');
        expect(normalizePath(raw)).not.toMatch(/^\/|\/\/|\/$|\0/);
      }),
    );
  });

  it('does not change when it is normalized again', () => {
    fc.assert(
      fc.property(name, (raw) => {
        if (unsafePathReason(raw) !== null) return;
        expect(normalizeEntryName(normalizePath(raw))).toBe(normalizePath(raw));
      }),
    );
  });
});

describe('a symbolic link', () => {
  it.each([
    ['a', 'b'],
    ['a', '.'],
    ['a/b', '..'],
    ['a/b/c', '../../x/y'],
    ['a/b', './../c'],
    ['a/b', '../..a'],
    ['lib.so', 'lib.so.1'],
  ])('%j to %j is stored', (path, target) => {
    expect(unsafeLinkReason(path, target)).toBeNull();
  });

  it.each([
    ['a', '', 'nothing'],
    ['a', '/etc/passwd', 'absolute'],
    ['a', 'C:\\x', 'absolute'],
    ['a', '\\x', 'absolute'],
    ['a', '..', 'leaves'],
    ['a/b', '../..', 'leaves'],
    ['a/b', '..\\..\\x', 'leaves'],
    ['a/b', 'x/../y', 'after a folder'],
    ['a', '.git/config', 'git'],
    ['a/b', '../.GIT/hooks', 'git'],
    ['a', 'x\0y', 'NUL'],
    ['a', 'x'.repeat(4096), 'overlong'],
  ])('%j to %j is refused: %s', (path, target, why) => {
    expect(unsafeLinkReason(path, target)).toContain(why);
  });

  it('never resolves outside the build, even through other links', () => {
    // The links of a tree, each at a folder of its own, resolved as an operating system does.
    const target = fc
      .array(fc.constantFrom('..', '.', 'd0', 'd1', 'd0/l', 'd1/l', 'd1/d2/l'), {
        minLength: 1,
        maxLength: 6,
      })
      .map((parts) => parts.join('/'));
    fc.assert(
      fc.property(fc.array(target, { minLength: 3, maxLength: 3 }), (targets) => {
        const links = new Map<string, string>();
        for (const [index, path] of ['d0/l', 'd1/l', 'd1/d2/l'].entries()) {
          const to = targets[index] ?? '';
          if (unsafeLinkReason(path, to) === null) links.set(path, to);
        }
        for (const [path, to] of links)
          expect(resolvePhysically(links, path, to)).not.toBe('outside');
      }),
      { numRuns: 2000 },
    );
  });
});

function resolvePhysically(
  links: ReadonlyMap<string, string>,
  path: string,
  target: string,
): string {
  const at = path.split('/').slice(0, -1);
  const todo = target.split('/');
  for (let steps = 0; todo.length > 0 && steps < 200; steps += 1) {
    const next = todo.shift();
    if (next === undefined || next === '.') continue;
    if (next === '..') {
      if (at.pop() === undefined) return 'outside';
      continue;
    }
    const link = links.get([...at, next].join('/'));
    if (link === undefined) at.push(next);
    else todo.unshift(...link.split('/'));
  }
  return at.join('/');
}
