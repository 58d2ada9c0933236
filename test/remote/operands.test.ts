import { spawnSync } from 'node:child_process';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { unquoteGitPath } from '../../src/remote/git-path.ts';
import { isGitSupported } from '../../src/remote/inspect.ts';
import {
  checkBranch,
  checkGitignore,
  checkLine,
  checkServerPath,
} from '../../src/remote/operands.ts';
import { defineScript } from '../../src/remote/script.ts';

describe('operands', () => {
  it.each(['/opt/app', '/opt/my app', "/srv/it's/ünï", '/a/..b/.c'])('take the path %s', (path) => {
    expect(checkServerPath(path)).toBe(path);
  });

  it.each([
    '',
    '/',
    'opt/app',
    '/opt/',
    '/opt//app',
    '/opt/../etc',
    '/opt/./app',
    '/opt/a\nb',
    '/opt/a\0b',
  ])('refuse the path %j', (path) => {
    expect(() => checkServerPath(path)).toThrow(/cannot be deployed to/);
  });

  it('agree with git on what a branch may be called', () => {
    const part = fc.constantFrom(
      'a',
      'B',
      '.',
      '..',
      '/',
      '-',
      '@',
      '@{',
      '.lock',
      '~',
      ' ',
      '*',
      '\\',
      'ü',
      'HEAD',
      '\x7f',
    );
    fc.assert(
      fc.property(fc.array(part, { maxLength: 5 }), (parts) => {
        const branch = parts.join('');
        const isGood = spawnSync('git', ['check-ref-format', '--branch', branch]).status === 0;
        const accepts = (): boolean => {
          try {
            checkBranch(branch);
            return true;
          } catch {
            return false;
          }
        };
        // Git reads "@{-1}" and the like as other branches; here they are refused.
        if (accepts()) expect({ branch, isGood }).toEqual({ branch, isGood: true });
        else if (isGood) expect(branch).toMatch(/^HEAD$|@\{|^@$/);
      }),
      { numRuns: 200 },
    );
  });

  it('refuse a second line where one is written', () => {
    expect(() => checkGitignore(['ok', 'a\nb'])).toThrow(/line end/);
    expect(() => checkLine('holder', 'a\nb')).toThrow(/one line/);
  });

  it('refuse what no argv can carry', () => {
    expect(() => defineScript({ name: 'x', text: '', args: ['a\0'] })).toThrow(/NUL/);
    expect(() => defineScript({ name: 'x', text: '', args: [], env: { 'A=B': '' } })).toThrow(
      /environment variable/,
    );
  });
});

describe('unquoteGitPath', () => {
  it.each([
    ['plain', 'plain'],
    ['with space', 'with space'],
    [String.raw`"a\"b\\c\n\t\303\274"`, 'a"b\\c\n\tü'],
    [String.raw`"\\303\001"`, '\\303\u0001'],
    ['"', '"'],
  ])('reads %s', (quoted, path) => {
    expect(unquoteGitPath(quoted)).toBe(path);
  });
});

describe('isGitSupported', () => {
  it.each([
    ['2.20.0', true],
    ['2.39.5', true],
    ['3.0.0', true],
    ['2.19.9', false],
    ['1.99.0', false],
    [null, false],
  ])('%s: %s', (version, expected) => {
    expect(isGitSupported(version)).toBe(expected);
  });
});
