import { z } from 'zod';
import { AppError } from './errors.ts';
import { quoted, shortened } from './quoted.ts';

/**
 * What a name may look like: a letter or digit, then up to 127 letters, digits, dots, underscores and dashes.
 * A name is therefore never `.`, `..`, empty or an option. It is not always a valid part of a git ref
 * (`a..b`, `a.lock`), nor safe as a key of a plain object (`constructor`). Source: API.md, "Conventions".
 */
export const NAME_PATTERN = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;

export const nameSchema = z
  .string()
  .regex(
    NAME_PATTERN,
    'must be 1 to 128 letters, digits, `.`, `_` or `-`, beginning with a letter or digit',
  )
  .brand<'Name'>();

/** A string that was checked to be a name. */
export type Name = z.infer<typeof nameSchema>;

/** What a name can be of; the words of docs/glossary.md, as they stand in error messages. */
export type NameKind =
  | 'application'
  | 'build'
  | 'package'
  | 'package map'
  | 'server'
  | 'environment'
  | 'keypair'
  | 'git provider'
  | 'gitrepo'
  | 'gitdeploy'
  | 'group'
  | 'freeze window'
  | 'user'
  | 'webhook'
  | 'token';

/**
 * First path segments of Muster's own URLs and of those it may answer later on the same port; an application
 * of such a name could not be told from them. Source: DESIGN.md, decision 10.
 */
export const RESERVED_APPLICATION_NAMES = [
  'app',
  'apps',
  'audit',
  'auth',
  'docs',
  'events',
  'global',
  'healers',
  'healthz',
  'job',
  'jobs',
  'listener',
  'metrics',
  'platforms',
  'quota',
  'readyz',
  'server',
  'services',
  'session',
  'swap',
  'task',
  'tasks',
  'teams',
  'tokens',
  'users',
  'v1',
  'web',
  'websocket',
] as const;

/** `GET /server/environments` lists the environments, so no server may have that name. */
const RESERVED_SERVER_NAMES = ['environments'] as const;

/** Under this name stands on record what Muster does by itself, so no user may have it. */
export const MUSTER_USERNAME = 'muster';

const RESERVED_NAMES: Partial<Record<NameKind, ReadonlySet<string>>> = {
  application: new Set(RESERVED_APPLICATION_NAMES),
  server: new Set(RESERVED_SERVER_NAMES),
  user: new Set([MUSTER_USERNAME]),
};

/**
 * Checks a name that a user gave.
 * @throws {AppError} `invalid_input` if it breaks the pattern or is reserved for this kind
 */
export function parseName(kind: NameKind, value: string): Name {
  const parsed = nameSchema.safeParse(value);
  if (!parsed.success) {
    throw new AppError(
      'invalid_input',
      `${subject(value)} cannot be the name of ${withArticle(kind)}; use 1 to 128 letters, digits, \`.\`, \`_\` or \`-\`, beginning with a letter or digit.`,
      { details: { kind, value: shortened(value), pattern: NAME_PATTERN.source } },
    );
  }
  if (RESERVED_NAMES[kind]?.has(value)) {
    throw new AppError(
      'invalid_input',
      `\`${value}\` ${kind === 'user' ? 'stands for what Muster does by itself' : "is a word of Muster's own URLs"} and cannot be the name of ${withArticle(kind)}; choose another name.`,
      { details: { kind, value, reserved: [...RESERVED_NAMES[kind]] } },
    );
  }
  return parsed.data;
}

/** A build's name as it is stored, and what to tell the caller about it. */
export interface BuildName {
  readonly name: Name;
  readonly messages: readonly string[];
}

/**
 * Makes a build's name of what CI sent, which often is a branch: every `/` becomes `-`, and a message says so.
 * @throws {AppError} `invalid_input` if the result is not a name
 */
export function normalizeBuildName(value: string): BuildName {
  const name = parseName('build', value.replaceAll('/', '-'));
  if (name === value) return { name, messages: [] };
  return {
    name,
    messages: [
      `The build is named \`${name}\`, not \`${value}\`: a \`/\` in a build name becomes \`-\`.`,
    ],
  };
}

const branchSchema = z.string().brand<'Branch'>();
const deployPathSchema = z.string().brand<'DeployPath'>();

/** A branch name that git accepts and that no command line takes for an option or a revision. */
export type Branch = z.infer<typeof branchSchema>;

/** An absolute, normalized path: no `.`, `..`, empty part or trailing slash. */
export type DeployPath = z.infer<typeof deployPathSchema>;

/** git writes `refs/heads/<branch>.lock` while it moves a branch; a file name holds 255 bytes. */
const MAX_BRANCH_BYTES = 240;

/** Below Linux's 4096, so that Muster's own files beside and inside the clone still fit. */
const MAX_PATH_BYTES = 1024;

const MAX_PATH_PART_BYTES = 255;

/** Each rule with what is said when a branch breaks it. Source: git-check-ref-format(1), rules 1 to 10 and `--branch`. */
const BRANCH_RULES: readonly { readonly broken: RegExp; readonly because: string }[] = [
  { broken: /^$/, because: 'it is empty' },
  { broken: /^-/, because: 'it begins with `-`' },
  { broken: /^(?:HEAD|@)$/, because: 'git gives that word another meaning' },
  { broken: /[\p{Cc}\p{Surrogate}]/u, because: 'it holds a control or broken character' },
  { broken: /[ ~^:?*[\\]/, because: 'it holds a space or one of `~ ^ : ? * [ \\`' },
  { broken: /\.\./, because: 'it holds `..`' },
  { broken: /@\{/, because: 'it holds `@{`' },
  { broken: /^\/|\/$|\/\//, because: 'it begins or ends with `/`, or holds `//`' },
  { broken: /(?:^|\/)\./, because: 'a part of it begins with `.`' },
  { broken: /\.lock(?:\/|$)/, because: 'a part of it ends with `.lock`' },
  { broken: /\.$/, because: 'it ends with `.`' },
];

/** The folders that a system keeps at its root: they hold other things than one application. */
const SYSTEM_FOLDERS: ReadonlySet<string> = new Set([
  '/bin',
  '/boot',
  '/dev',
  '/etc',
  '/home',
  '/lib',
  '/lib32',
  '/lib64',
  '/libx32',
  '/lost+found',
  '/media',
  '/mnt',
  '/opt',
  '/proc',
  '/root',
  '/run',
  '/sbin',
  '/srv',
  '/sys',
  '/tmp',
  '/usr',
  '/var',
]);

/**
 * Checks the name of one branch, without `refs/heads/` before it.
 * @throws {AppError} `invalid_input`, saying which of git's rules it breaks
 */
export function parseBranch(value: string): Branch {
  const because = whyNotBranch(value);
  if (because === null) return branchSchema.parse(value);
  throw new AppError(
    'invalid_input',
    `${subject(value)} cannot be a branch, because ${because}; give the name of one branch, such as \`master\`.`,
    { details: { value: shortened(value) } },
  );
}

/**
 * Checks where a gitdeploy's clone stands on its servers, and normalizes it: `/opt//app/./` is `/opt/app`.
 * @throws {AppError} `invalid_input` if the path is relative, climbs, is the root or a folder of the system's
 *   own, lies in a `.git` folder, or no file system could hold it
 */
export function parseDeployPath(value: string): DeployPath {
  const path = `/${value.split('/').filter(isPathPart).join('/')}`;
  const because = whyNotDeployPath(value, path);
  if (because === null) return deployPathSchema.parse(path);
  throw new AppError(
    'invalid_input',
    `${subject(value)} cannot be a deploy path, because ${because}; give an absolute path of its own, such as \`/opt/shop\`.`,
    { details: { value: shortened(value) } },
  );
}

function whyNotBranch(value: string): string | null {
  const rule = BRANCH_RULES.find(({ broken }) => broken.test(value));
  if (rule !== undefined) return rule.because;
  return byteLength(value) > MAX_BRANCH_BYTES ? `it is over ${MAX_BRANCH_BYTES} bytes long` : null;
}

function whyNotDeployPath(value: string, path: string): string | null {
  const parts = value.split('/');
  if (/[\p{Cc}\p{Surrogate}]/u.test(value)) return 'it holds a control or broken character';
  if (!value.startsWith('/')) return 'it is not absolute';
  if (parts.includes('..')) return 'it holds `..`';
  if (path === '/') return 'it is the root of the file system';
  if (SYSTEM_FOLDERS.has(path)) return 'it is a folder of the system itself';
  if (parts.some((part) => part.toLowerCase() === '.git')) return 'it lies in a `.git` folder';
  if (parts.some((part) => byteLength(part) > MAX_PATH_PART_BYTES)) {
    return `a part of it is over ${MAX_PATH_PART_BYTES} bytes long`;
  }
  return byteLength(path) > MAX_PATH_BYTES ? `it is over ${MAX_PATH_BYTES} bytes long` : null;
}

function isPathPart(part: string): boolean {
  return part !== '' && part !== '.';
}

function byteLength(text: string): number {
  return new TextEncoder().encode(text).length;
}

function withArticle(kind: NameKind): string {
  return /^[ae]/.test(kind) ? `an ${kind}` : `a ${kind}`;
}

/** The value at the beginning of a sentence. */
function subject(value: string): string {
  return value === '' ? 'An empty string' : quoted(value);
}
