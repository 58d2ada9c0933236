import { AppError } from './errors.ts';
import { shortened } from './quoted.ts';

/** Where a repository is, checked to be nothing but that: no option, no command, no password. */
export type GitUri =
  | { readonly kind: 'ssh'; readonly uri: string; readonly host: string }
  | {
      readonly kind: 'http';
      readonly uri: string;
      /** `https://host:port`, as far as configuration by URL is to reach. */
      readonly origin: string;
      readonly host: string;
      readonly isEncrypted: boolean;
    };

const MAX_URI_LENGTH = 1024;

const HOST = String.raw`(?<host>[A-Za-z0-9][A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+\])`;
const USER = '(?:[A-Za-z0-9_][A-Za-z0-9._-]*@)?';
const PORT = String.raw`(?::(?<port>\d{1,5}))?`;
/** Percent-encoded control characters are left out: git decodes them. */
const PATH_CHARACTER = '(?:[A-Za-z0-9._~/+@,=:-]|%[2-7][0-9A-Fa-f])';

const HTTP = new RegExp(`^(?<scheme>https?)://${HOST}${PORT}/${PATH_CHARACTER}+$`);
const SSH = new RegExp(`^ssh://${USER}${HOST}${PORT}/${PATH_CHARACTER}+$`);
/** `git@host:path`. Neither `//` nor `:` or `-` begins the path, so no URL of another kind passes for it. */
const SCP_LIKE = new RegExp(`^${USER}${HOST}:(?!//)[A-Za-z0-9._~/]${PATH_CHARACTER}*$`);

/**
 * Checks where a repository is: `https://…`, `http://…`, `ssh://…` or `git@host:path`. Everything else that git would
 * take (`ext::`, `file://`, folders, options) is refused, as it could run commands or read Muster's own files.
 * @throws {AppError} `invalid_input`
 */
export function parseGitUri(uri: string): GitUri {
  if (/^[a-z]+:\/\/[^/]*:[^/]*@/i.test(uri) || /^https?:\/\/[^/]*@/i.test(uri)) {
    throw new AppError(
      'invalid_input',
      'uri must not hold a user or password, since it is shown to everybody who may read the gitrepo. Leave them out, and name a `gitprovider` or a `keypair` instead.',
      { details: { parameter: 'uri' } },
    );
  }
  const http = uri.length <= MAX_URI_LENGTH ? HTTP.exec(uri)?.groups : undefined;
  if (http !== undefined && isPort(http['port'])) {
    const { scheme = '', host = '', port } = http;
    const origin = `${scheme}://${host}${port === undefined ? '' : `:${port}`}`;
    return { kind: 'http', uri, origin, host, isEncrypted: scheme === 'https' };
  }
  const ssh = uri.length <= MAX_URI_LENGTH ? (SSH.exec(uri) ?? SCP_LIKE.exec(uri))?.groups : null;
  if (ssh !== undefined && ssh !== null && isPort(ssh['port'])) {
    return { kind: 'ssh', uri, host: ssh['host'] ?? '' };
  }
  throw new AppError(
    'invalid_input',
    'uri is not where a repository can be. Give it as `https://host/path.git`, `ssh://git@host/path.git` or `git@host:path.git`.',
    { details: { parameter: 'uri', value: shortened(uri) } },
  );
}

function isPort(digits: string | undefined): boolean {
  return digits === undefined || (Number(digits) >= 1 && Number(digits) <= 65_535);
}
