import { braceExpand, Minimatch, type MinimatchOptions } from 'minimatch';
import { normalizePath, quoteName, unsafePathReason } from './archive-entry.ts';
import { AppError } from './errors.ts';

/** How one package is cut from a build. The keys are those of the wire (API.md "Package maps"). */
export interface PackageSpec {
  /** Globs over the paths of files from the build's root; a file is in the package if any of them matches. */
  readonly patterns: readonly string[];
  /** Put in front of what `remove_prefix` left, with no separator added. */
  readonly prefix?: string;
  /** Taken from the start of the path, once, if the path begins with it. */
  readonly remove_prefix?: string;
}

/** Package names and how to cut them. */
export type PackageMapDefinition = Readonly<Record<string, PackageSpec>>;

/** One file of a package: its path in the build and in the package. */
export interface PackageEntry {
  readonly from: string;
  readonly to: string;
}

export interface PackageCut {
  /** In the order of the paths that were given; each file once. */
  readonly entries: readonly PackageEntry[];
  /** Patterns that matched no file at all, in the order of the map. */
  readonly unmatchedPatterns: readonly string[];
}

/** The package that is the whole build; no map may name it. */
export const MASTER_PACKAGE = 'master';

const PACKAGE_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;
const SPEC_KEYS = ['patterns', 'prefix', 'remove_prefix'] as const;
const MAX_PACKAGES = 1000;
/** Over the whole map: every pattern is tried on every file of a build. */
const MAX_PATTERNS = 1000;
const MAX_PATTERN_LENGTH = 1024;
/** Of one pattern; minimatch silently drops what is over its own bound. */
const MAX_BRACE_ALTERNATIVES = 1000;

const GLOB_OPTIONS: MinimatchOptions = {
  // A build's `.env` or `.htaccess` is content.
  dot: true,
  // A pattern says which files, and nothing else: a leading `!` or `#` and `+(…)` are ordinary characters.
  nonegate: true,
  nocomment: true,
  noext: true,
  // The rules must not depend on where Muster runs.
  platform: 'linux',
  braceExpandMax: MAX_BRACE_ALTERNATIVES + 1,
};

/**
 * Checks a package map as a user sent it.
 * @throws {AppError} `invalid_input` naming the package and what is wrong with it: no packages, a bad name, no patterns, a
 *   pattern that is absolute, contains `..` or leaves a `[` or `{` open, a prefix that leads out of the package
 */
export function validatePackageMap(definition: unknown): PackageMapDefinition {
  if (!isRecord(definition)) throw invalid('"packages" must be an object of packages.');
  const packages = Object.entries(definition);
  if (packages.length === 0) throw invalid('"packages" must hold at least one package.');
  if (packages.length > MAX_PACKAGES) {
    throw invalid(`"packages" may hold at most ${MAX_PACKAGES} packages.`);
  }
  const specs = packages.map(([name, spec]) => [name, validateSpec(name, spec)] as const);
  const patternCount = specs.reduce((count, [, spec]) => count + spec.patterns.length, 0);
  if (patternCount > MAX_PATTERNS) {
    throw invalid(
      `A package map may hold at most ${MAX_PATTERNS} patterns; this one has ${patternCount}.`,
    );
  }
  return Object.fromEntries(specs);
}

/** One package while the files of a build go by. */
export interface PackageCutter {
  /**
   * Takes the next file of the build, each once.
   * @returns its path in the package, or null if it is not in it
   * @throws {AppError} `package_map_conflict` if it would end at the name of another one, or at an unsafe name
   */
  add(from: string): string | null;
  /**
   * To be called after the last file.
   * @returns the patterns that matched no file, in the order of the map
   * @throws {AppError} `package_map_conflict` if one file would end inside another
   */
  finish(): readonly string[];
}

/**
 * Finds the files of one package.
 * @param name of the package, for messages @param paths of the build's files, each once
 * @throws {AppError} `package_map_conflict` as `PackageCutter` says
 */
export function cutPackage(name: string, spec: PackageSpec, paths: Iterable<string>): PackageCut {
  const cutter = openPackageCutter(name, spec);
  const entries: PackageEntry[] = [];
  for (const from of paths) {
    const to = cutter.add(from);
    if (to !== null) entries.push({ from, to });
  }
  return { entries, unmatchedPatterns: cutter.finish() };
}

/** Begins to cut one package, file by file, so that whoever reads a large build can do something else in between. */
export function openPackageCutter(name: string, spec: PackageSpec): PackageCutter {
  const patterns = spec.patterns.map((pattern) => ({
    pattern,
    glob: compilePattern(pattern),
    isMatched: false,
  }));
  const fromByTo = new Map<string, string>();
  const isMember = (from: string): boolean => {
    let isInPackage = false;
    for (const candidate of patterns) {
      // Once in the package, a file only needs to be tried on patterns that have matched nothing yet.
      if (isInPackage && candidate.isMatched) continue;
      if (!candidate.glob.match(from)) continue;
      candidate.isMatched = true;
      isInPackage = true;
    }
    return isInPackage;
  };
  return {
    add(from) {
      if (!isMember(from)) return null;
      const to = renamed(name, spec, from);
      const other = fromByTo.get(to);
      if (other !== undefined) {
        throw conflict(name, [other, from], `both end at ${quoteName(to)}`);
      }
      fromByTo.set(to, from);
      return to;
    },
    finish() {
      assertNoFileIsFolder(name, fromByTo);
      return patterns.filter((each) => !each.isMatched).map((each) => each.pattern);
    },
  };
}

function validateSpec(name: string, spec: unknown): PackageSpec {
  if (!PACKAGE_NAME.test(name)) {
    throw invalid(
      `The package name ${quoteName(name)} is not valid; use letters, digits, ".", "_" and "-", beginning with a letter or digit.`,
    );
  }
  if (name === MASTER_PACKAGE) {
    throw invalid(
      `"${MASTER_PACKAGE}" is the whole build and cannot be cut; name the package otherwise.`,
    );
  }
  if (!isRecord(spec)) throw invalid(`Package "${name}" must be an object with "patterns".`);
  const unknownKey = Object.keys(spec).find((key) => !SPEC_KEYS.some((known) => known === key));
  if (unknownKey !== undefined) {
    throw invalid(
      `Package "${name}" has the unknown key ${quoteName(unknownKey)}; known are ${SPEC_KEYS.join(', ')}.`,
    );
  }
  const { patterns, prefix: givenPrefix, remove_prefix: givenRemovePrefix } = spec;
  const prefix = validatePrefix(name, 'prefix', givenPrefix);
  const removePrefix = validatePrefix(name, 'remove_prefix', givenRemovePrefix);
  return {
    patterns: validatePatterns(name, patterns),
    ...(prefix === undefined ? {} : { prefix }),
    ...(removePrefix === undefined ? {} : { remove_prefix: removePrefix }),
  };
}

function validatePatterns(name: string, patterns: unknown): readonly string[] {
  if (!Array.isArray(patterns) || patterns.length === 0) {
    throw invalid(`Package "${name}" must have "patterns", a list of at least one pattern.`);
  }
  return patterns.map((pattern: unknown) => {
    if (typeof pattern !== 'string' || pattern === '') {
      throw invalid(`Package "${name}" has a pattern that is not a string or is empty.`);
    }
    const reason = badPatternReason(pattern);
    if (reason !== null) {
      throw invalid(`Package "${name}" has the pattern ${quoteName(pattern)}, which ${reason}.`);
    }
    return pattern;
  });
}

function validatePrefix(name: string, key: string, value: unknown): string | undefined {
  if (value === undefined) return undefined;
  if (typeof value !== 'string') throw invalid(`"${key}" of package "${name}" must be a string.`);
  if (key === 'remove_prefix') return value;
  // The last component merges with the name that follows, so it is judged with each file; the rest is judged here.
  const folders = value.slice(0, value.lastIndexOf('/') + 1);
  const reason = unsafePathReason(value.startsWith('/') ? value : folders);
  if (reason !== null) {
    throw invalid(
      `"${key}" ${quoteName(value)} of package "${name}" is not allowed because it ${reason}.`,
    );
  }
  return value;
}

/** Why a pattern cannot be used, as half a sentence whose subject is the pattern; null if it can. */
function badPatternReason(pattern: string): string | null {
  if (pattern.length > MAX_PATTERN_LENGTH) return `is over ${MAX_PATTERN_LENGTH} characters`;
  if (pattern.includes('\0')) return 'has a NUL byte in it';
  const open = unclosedBracket(pattern);
  if (open !== null) return open;
  const alternatives = braceExpand(pattern, GLOB_OPTIONS);
  if (alternatives.length > MAX_BRACE_ALTERNATIVES) {
    return `stands for more than ${MAX_BRACE_ALTERNATIVES} alternatives`;
  }
  for (const alternative of alternatives) {
    if (alternative.startsWith('/')) return 'is absolute; patterns begin at the root of the build';
    if (alternative.split('/').includes('..')) return 'contains ".."';
    if (stripDotSlash(alternative) === '') return 'matches no file at all';
    // Braces are expanded first, so `{[a,b]}` falls apart into `[a` and `b]`.
    const openInAlternative = unclosedBracket(alternative, false);
    if (openInAlternative !== null) return openInAlternative;
  }
  return null;
}

/** Elsewhere such a bracket silently stands for itself, which is never what was meant. A backslash escapes it. */
function unclosedBracket(pattern: string, withBraces = true): string | null {
  let openBraces = 0;
  for (let index = 0; index < pattern.length; index += 1) {
    const character = pattern[index];
    if (character === '\\') {
      index += 1;
      if (index === pattern.length) return 'ends with a lone backslash';
    } else if (character === '[') {
      const end = classEnd(pattern, index);
      if (end === -1)
        return 'has a "[" that is not closed; write "\\\\[" if the character itself is meant';
      index = end;
    } else if (withBraces && character === '{') {
      openBraces += 1;
    } else if (withBraces && character === '}' && openBraces > 0) {
      openBraces -= 1;
    }
  }
  if (openBraces > 0)
    return 'has a "{" that is not closed; write "\\\\{" if the character itself is meant';
  return null;
}

/** Where the class that begins at `start` ends, or -1. A `]` right at the beginning stands for itself. */
function classEnd(pattern: string, start: number): number {
  const first = pattern[start + 1] === '!' || pattern[start + 1] === '^' ? start + 2 : start + 1;
  for (let index = first; index < pattern.length; index += 1) {
    const character = pattern[index];
    if (character === '/') return -1;
    if (character === '\\') index += 1;
    else if (character === ']' && index > first) return index;
  }
  return -1;
}

function compilePattern(pattern: string): Minimatch {
  return new Minimatch(stripDotSlash(pattern), GLOB_OPTIONS);
}

function stripDotSlash(pattern: string): string {
  return pattern.replace(/^(?:\.\/+)+/, '');
}

function renamed(name: string, spec: PackageSpec, from: string): string {
  const removePrefix = spec.remove_prefix ?? '';
  const rest = from.startsWith(removePrefix) ? from.slice(removePrefix.length) : from;
  const to = (spec.prefix ?? '') + rest;
  const reason = unsafePathReason(to);
  if (reason !== null) {
    throw conflict(name, [from], `would end at ${quoteName(to)}, which ${reason}`);
  }
  // `a/` + '' would name the folder, not a file in it.
  if (/(?:^|\/)\.?$/.test(to)) {
    throw conflict(name, [from], `would end at ${quoteName(to)}, which is no name of a file`);
  }
  return normalizePath(to);
}

function assertNoFileIsFolder(name: string, fromByTo: ReadonlyMap<string, string>): void {
  let lastFolder = '';
  for (const [to, from] of fromByTo) {
    const folder = to.slice(0, Math.max(0, to.lastIndexOf('/')));
    // Neighbors mostly share their folder.
    if (folder === lastFolder) continue;
    lastFolder = folder;
    for (let end = folder.length; end > 0; end = folder.lastIndexOf('/', end - 1)) {
      const ancestor = folder.slice(0, end);
      const other = fromByTo.get(ancestor);
      if (other !== undefined) {
        throw conflict(
          name,
          [other, from],
          `end at ${quoteName(ancestor)} and inside it at ${quoteName(to)}`,
        );
      }
    }
  }
}

function conflict(name: string, files: readonly string[], what: string): AppError {
  return new AppError(
    'package_map_conflict',
    `In package "${name}", ${files.map(quoteName).join(' and ')} ${what}; change its patterns, prefix or remove_prefix.`,
    { details: { package: name, files } },
  );
}

function invalid(message: string): AppError {
  return new AppError('invalid_input', message);
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
