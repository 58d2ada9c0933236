import { z } from 'zod';

const NAMED_ESCAPES: Readonly<Record<string, number>> = {
  a: 7,
  b: 8,
  t: 9,
  n: 10,
  v: 11,
  f: 12,
  r: 13,
  '"': 34,
  '\\': 92,
};

/**
 * Undo git's C-style quoting of a path (`"a\303\244\n"`); a path that is not quoted is returned as it is.
 * Bytes that are not UTF-8 become U+FFFD. Source: gitformat of `core.quotePath` in git-config(1).
 */
export function unquoteGitPath(quoted: string): string {
  if (quoted.length < 2 || !quoted.startsWith('"') || !quoted.endsWith('"')) return quoted;
  const bytes: Buffer[] = [];
  for (const [, octal, named, plain] of quoted
    .slice(1, -1)
    .matchAll(/\\([0-3][0-7]{2})|\\(.)|([^\\]+)/gsu)) {
    if (octal !== undefined) bytes.push(Buffer.from([Number.parseInt(octal, 8)]));
    else if (named !== undefined)
      bytes.push(Buffer.from([NAMED_ESCAPES[named] ?? named.charCodeAt(0)]));
    else if (plain !== undefined) bytes.push(Buffer.from(plain, 'utf8'));
  }
  return Buffer.concat(bytes).toString('utf8');
}

/** A path as git prints it, read as the path that it is. */
export const gitPathSchema = z
  .string()
  .transform(unquoteGitPath)
  .meta({ description: 'A path inside the clone.' });
