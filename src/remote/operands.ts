import { AppError } from '../domain/errors.ts';

/**
 * The absolute path of a clone as it may be given to a script.
 * @throws {AppError} `invalid_input` unless it is absolute, not `/`, and free of `.`, `..`, empty parts and line ends
 */
export function checkServerPath(path: string): string {
  const parts = path.split('/').slice(1);
  const plain = parts.every((part) => part !== '' && part !== '.' && part !== '..');
  if (!path.startsWith('/') || !plain || /[\0\r\n]/.test(path)) {
    throw new AppError(
      'invalid_input',
      `${JSON.stringify(path)} cannot be deployed to; give an absolute path below / without "." and "..".`,
      { details: { path } },
    );
  }
  return path;
}

/**
 * The name of a branch, by the rules of git-check-ref-format(1).
 * @throws {AppError} `invalid_input`
 */
export function checkBranch(branch: string): string {
  const refused =
    // biome-ignore lint/suspicious/noControlCharactersInRegex: git refuses exactly these.
    /[\x00-\x20\x7f~^:?*[\\]|\.\.|@\{|\/\/|^[-/.]|\/\.|\.lock(\/|$)|[/.]$|^@$|^HEAD$|^$/;
  if (refused.test(branch)) {
    throw new AppError(
      'invalid_input',
      `${JSON.stringify(branch)} cannot be the name of a branch; see git help check-ref-format.`,
      { details: { branch } },
    );
  }
  return branch;
}

/**
 * A full commit id of 40 hexadecimal digits.
 * @throws {AppError} `invalid_input`
 */
export function checkCommit(commit: string): string {
  if (!/^[0-9a-f]{40}$/.test(commit)) {
    throw new AppError('invalid_input', `${JSON.stringify(commit)} is not a full commit id.`);
  }
  return commit;
}

/**
 * The lines of an exclude list.
 * @throws {AppError} `invalid_input` if one of them holds a line end, which would make it two
 */
export function checkGitignore(patterns: readonly string[]): readonly string[] {
  const broken = patterns.find((pattern) => /[\r\n]/.test(pattern));
  if (broken !== undefined) {
    throw new AppError(
      'invalid_input',
      `The gitignore pattern ${JSON.stringify(broken)} has a line end; give one pattern per entry.`,
    );
  }
  return patterns;
}

/**
 * One word or sentence that is written into a file of lines on the server.
 * @throws {AppError} `invalid_input` if it holds a control character or is empty
 */
export function checkLine(what: string, value: string): string {
  if (!/^\P{Cc}+$/u.test(value)) {
    throw new AppError('invalid_input', `The ${what} must be one line that is not empty.`);
  }
  return value;
}
