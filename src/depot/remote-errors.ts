import { AppError } from '../domain/errors.ts';
import type { GitUri } from '../domain/git-uri.ts';
import { withoutSecrets } from '../domain/gitprovider.ts';

/** What git wrote when it could not do what it was told to do at a git server. */
export interface RemoteFailure {
  readonly uri: GitUri;
  /** Standard output and error. */
  readonly text: string;
  readonly secrets: readonly string[];
  readonly knownHostsPath: string;
}

const HOST_KEY = /Host key verification failed|HOST IDENTIFICATION HAS CHANGED/;
const LOGIN =
  /Permission denied|could not read (?:Username|Password)|Authentication failed|returned error: 40[13]|Too many authentication failures/i;
const AWAY =
  /Could not resolve|Name or service not known|Connection (?:refused|timed out|reset|closed)|Failed to connect|Couldn't connect|Network is unreachable|No route to host|timed out|kex_exchange_identification|returned error: 5\d\d|early EOF|hung up unexpectedly|unexpected disconnect|Operation too slow|Empty reply|SSL|TLS|certificate/i;
const MISSING =
  /repository '.*' not found|returned error: 404|does not appear to be a git repository/i;
const REDIRECT = /unable to update url base from redirection|returned error: 30\d/i;
/** Said of a push to a branch that has meanwhile got another head; by git itself, or by the server that looked again. */
const MOVED =
  /\[rejected\]|\[remote rejected\] \((?:failed to (?:update|lock) ref|cannot lock ref|incorrect old value|fetch first|non-fast-forward|stale info)/i;

/** Whether a push failed only because somebody else's came first. */
export function isMovedHead(text: string): boolean {
  return MOVED.test(text);
}

/** The error for a person, with the server's own words where it said some. */
export function remoteError(failure: RemoteFailure): AppError {
  const { uri, text, secrets } = failure;
  const words = withoutSecrets(wordsIn(text), secrets);
  const said = words === '' ? '' : `: ${words}`;
  const stop = /[.!?]$/.test(words) ? '' : '.';
  const options = { details: { uri: uri.uri, words } };
  if (HOST_KEY.test(text)) {
    return new AppError(
      'host_key_changed',
      `The git server ${uri.host} shows another host key than the pinned one. If it was set up anew, remove its line from ${failure.knownHostsPath}; else find out who answers there.`,
      { details: { uri: uri.uri, known_hosts: failure.knownHostsPath } },
    );
  }
  if (LOGIN.test(text)) {
    return new AppError(
      'gitprovider_refused',
      `${uri.uri} does not let Muster in${said}${stop} ${uri.kind === 'ssh' ? 'Give the public key of its keypair write access there.' : 'Check the credentials of its git provider and what they may do.'}`,
      options,
    );
  }
  if (MISSING.test(text)) {
    return new AppError(
      'gitprovider_refused',
      `There is no repository at ${uri.uri}, or Muster may not see it${said}${stop} Check \`uri\` and the access rights there.`,
      options,
    );
  }
  if (REDIRECT.test(text)) {
    return new AppError(
      'gitprovider_refused',
      `${uri.uri} redirects to another place, which is not followed. Give the \`uri\` of that place.`,
      options,
    );
  }
  if (AWAY.test(text)) {
    return new AppError(
      'gitprovider_unreachable',
      `${uri.uri} cannot be reached${said}${stop} Check \`uri\`, and that the git server is up.`,
      { ...options, retryable: true },
    );
  }
  return new AppError(
    'gitprovider_refused',
    `${uri.uri} refused${said}${stop} Correct what it says, then try again.`,
    options,
  );
}

/** What the server itself said (`remote:` lines, why a ref was refused); if it said nothing, what git says. */
function wordsIn(text: string): string {
  const lines = text.split(/\r|\n/).map((line) => line.trim());
  const remote = lines.flatMap((line) => /^remote: (.*\S)/.exec(line)?.[1] ?? []);
  const refused = lines.flatMap((line) => /\[remote rejected\] \((.*)\)$/.exec(line)?.[1] ?? []);
  const own = [...remote, ...refused];
  if (own.length > 0) return [...new Set(own)].join(' ');
  const git = lines.filter((line) => line !== '' && !IDLE_LINE.test(line));
  return [...new Set(git.map((line) => line.replace(/^(?:fatal|error): /, '')))].join(' ');
}

/** Lines that say nothing about why. */
const IDLE_LINE =
  /^(?:To |Done$|Please make sure you have the correct access rights|and the repository exists|fatal: Could not read from remote repository)/;
