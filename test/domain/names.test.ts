import { spawnSync } from 'node:child_process';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  normalizeBuildName,
  parseBranch,
  parseDeployPath,
  parseName,
  RESERVED_APPLICATION_NAMES,
} from '../../src/domain/names.ts';

const invalidInput = expect.objectContaining({ code: 'invalid_input' });

/** Characters that names, paths and refs treat in some special way, so that random strings meet every rule. */
const treacherousText = fc
  .array(
    fc.constantFrom(
      ...['a', 'B', '7', '.', '..', '/', '//', '-', '_', '@', '@{', '.lock', 'HEAD', ' ', '~', '^'],
      ...[
        ':',
        '?',
        '*',
        '[',
        ']',
        '\\',
        '\0',
        '\n',
        '\t',
        '\u007f',
        'ü',
        '\u{1f680}',
        '$',
        "'",
        '`',
      ],
    ),
    { maxLength: 6 },
  )
  .map((parts) => parts.join(''));

describe('parseName', () => {
  it.each(['a', '7', 'web01.example.com', '1.2.3', 'A_b-c.d', 'a..b', 'x'.repeat(128)])(
    'takes %s as it is',
    (name) => {
      expect(parseName('server', name)).toBe(name);
    },
  );

  it.each(['', '.', '..', '-a', '_a', '.a', 'a b', 'a/b', 'a\n', 'ä', 'a\0', 'x'.repeat(129)])(
    'refuses %j',
    (name) => {
      expect(() => parseName('server', name)).toThrow(invalidInput);
    },
  );

  it('says in one sentence what is wrong and what to do', () => {
    expect(() => parseName('application', 'my app')).toThrow(
      '`my app` cannot be the name of an application; use 1 to 128 letters, digits, `.`, `_` or `-`, beginning with a letter or digit.',
    );
    expect(() => parseName('user', '')).toThrow(
      'An empty string cannot be the name of a user; use',
    );
  });

  it('shows a hostile value cut short and on one line', () => {
    const message = messageOf(() => parseName('group', `a\nb${'x'.repeat(100_000)}`));
    expect(message.length).toBeLessThan(400);
    expect(message).not.toContain('\n');
  });

  it.each(RESERVED_APPLICATION_NAMES)('keeps applications from being named %s', (name) => {
    expect(() => parseName('application', name)).toThrow(
      `\`${name}\` is a word of Muster's own URLs and cannot be the name of an application; choose another name.`,
    );
    expect(parseName('build', name)).toBe(name);
  });

  it('keeps servers, and only servers, from being named environments', () => {
    expect(() => parseName('server', 'environments')).toThrow(invalidInput);
    expect(parseName('application', 'environments')).toBe('environments');
  });

  it('takes nothing that could be a path, an option or two words', () => {
    fc.assert(
      fc.property(fc.oneof(treacherousText, fc.string()), (text) => {
        const name = parsedOrNull(() => parseName('group', text));
        if (name !== null) expect(name).not.toMatch(/^[-.]|[\s/\\]|^$/);
      }),
    );
  });
});

describe('normalizeBuildName', () => {
  it('leaves a name alone and says nothing', () => {
    expect(normalizeBuildName('5-master')).toEqual({ name: '5-master', messages: [] });
  });

  it('turns every slash into a dash and says so', () => {
    expect(normalizeBuildName('7-feature/login/ui')).toEqual({
      name: '7-feature-login-ui',
      messages: [
        'The build is named `7-feature-login-ui`, not `7-feature/login/ui`: a `/` in a build name becomes `-`.',
      ],
    });
  });

  it.each(['/a', '', '/', 'a b'])('refuses %j, which is no name even then', (value) => {
    expect(() => normalizeBuildName(value)).toThrow(invalidInput);
  });
});

describe('parseBranch', () => {
  it.each([
    'master',
    'release/1.2',
    'a-b_c',
    '@home',
    'a@',
    'überraschung',
    'HEAD/a',
    'a.locks',
    'a{b}',
  ])('takes %s', (branch) => {
    expect(parseBranch(branch)).toBe(branch);
  });

  it.each([
    ['', 'it is empty'],
    ['-d', 'it begins with `-`'],
    ['HEAD', 'git gives that word another meaning'],
    ['@', 'git gives that word another meaning'],
    ['a\nb', 'it holds a control or broken character'],
    ['a\ud800', 'it holds a control or broken character'],
    ['a b', 'it holds a space or one of'],
    ['a~1', 'it holds a space or one of'],
    ['a^', 'it holds a space or one of'],
    ['+a:b', 'it holds a space or one of'],
    ['a?', 'it holds a space or one of'],
    ['a*', 'it holds a space or one of'],
    ['a[', 'it holds a space or one of'],
    ['a\\b', 'it holds a space or one of'],
    ['a..b', 'it holds `..`'],
    ['a@{1}', 'it holds `@{`'],
    ['/a', 'it begins or ends with `/`, or holds `//`'],
    ['a/', 'it begins or ends with `/`, or holds `//`'],
    ['a//b', 'it begins or ends with `/`, or holds `//`'],
    ['a/.b', 'a part of it begins with `.`'],
    ['a.lock', 'a part of it ends with `.lock`'],
    ['a.lock/b', 'a part of it ends with `.lock`'],
    ['a.', 'it ends with `.`'],
    ['é'.repeat(121), 'it is over 240 bytes long'],
  ])('refuses %j, because %s', (branch, because) => {
    expect(messageOf(() => parseBranch(branch))).toContain(because);
    expect(() => parseBranch(branch)).toThrow(invalidInput);
  });

  it('judges as git itself does', () => {
    fc.assert(
      fc.property(treacherousText, (text) => {
        // A NUL cannot be handed to a program at all; git refuses it in files.
        fc.pre(!text.includes('\0'));
        expect(parsedOrNull(() => parseBranch(text)) !== null).toBe(isBranchToGit(text));
      }),
      { numRuns: 200 },
    );
  });
});

describe('parseDeployPath', () => {
  it.each([
    ['/opt/app', '/opt/app'],
    ['/opt/app/', '/opt/app'],
    ['//opt///app/./x/.', '/opt/app/x'],
    ['/srv/my app', '/srv/my app'],
    ['/opt/a..b', '/opt/a..b'],
    ['/opt/.hidden', '/opt/.hidden'],
    ['/app', '/app'],
    ['/usr/local', '/usr/local'],
  ])('takes %j as %j', (given, path) => {
    expect(parseDeployPath(given)).toBe(path);
  });

  it.each([
    ['', 'it is not absolute'],
    ['opt/app', 'it is not absolute'],
    ['./app', 'it is not absolute'],
    ['~/app', 'it is not absolute'],
    ['/opt/../etc/x', 'it holds `..`'],
    ['/opt/app/..', 'it holds `..`'],
    ['/opt/a\0b', 'it holds a control or broken character'],
    ['/opt/a\nb', 'it holds a control or broken character'],
    ['/', 'it is the root of the file system'],
    ['///.//', 'it is the root of the file system'],
    ['/etc', 'it is a folder of the system itself'],
    ['//usr/./', 'it is a folder of the system itself'],
    ['/opt', 'it is a folder of the system itself'],
    ['/opt/app/.git', 'it lies in a `.git` folder'],
    ['/opt/app/.GIT/hooks', 'it lies in a `.git` folder'],
    [`/opt/${'é'.repeat(128)}`, 'a part of it is over 255 bytes long'],
    [`/opt${'/0123456789'.repeat(100)}`, 'it is over 1024 bytes long'],
  ])('refuses %j, because %s', (path, because) => {
    expect(messageOf(() => parseDeployPath(path))).toContain(because);
    expect(() => parseDeployPath(path)).toThrow(invalidInput);
  });

  it('gives only paths that are normal and that it takes again unchanged', () => {
    const anyPath = treacherousText.map((text) => `/opt/${text}`);
    fc.assert(
      fc.property(anyPath, (text) => {
        const path = parsedOrNull(() => parseDeployPath(text));
        if (path === null) return;
        expect(path).toMatch(/^(?:\/[^/\0\n]+)+$/);
        expect(path.split('/')).not.toContain('..');
        expect(path.split('/')).not.toContain('.');
        expect(parseDeployPath(path)).toBe(path);
      }),
      { numRuns: 1000 },
    );
  });
});

/** `--branch` alone would take `@{-1}`; that the ref is valid as well makes it the name of a branch. */
function isBranchToGit(text: string): boolean {
  if (text === '@') return false; // A valid ref, but as an argument it means HEAD.
  const check = (...args: readonly string[]): boolean =>
    spawnSync('git', ['check-ref-format', ...args], { timeout: 60_000, cwd: '/' }).status === 0;
  return check(`refs/heads/${text}`) && check('--branch', text);
}

function parsedOrNull(parse: () => string): string | null {
  try {
    return parse();
  } catch {
    return null;
  }
}

function messageOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
  throw new Error('nothing was thrown');
}
