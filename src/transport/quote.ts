import { AppError } from '../domain/errors.ts';
import type { RemoteScript } from '../remote/script.ts';

/** Linux gives one argument of a program 128 KiB, and sshd passes the whole command as one. */
const MAX_COMMAND_BYTES = 120_000;

/** What the line begins with by which a script that runs over SSH tells its process id, first of all, on stderr. */
const PID_LINE = 'muster-pid';

/** That line; the id is also that of the script's process group, as sshd starts every command in its own. */
export const PID_LINE_PATTERN = /^muster-pid (\d+)\r?\n/m;

/** A word of a POSIX shell that is exactly this value. The only quoting of Muster; NUL cannot be in it. */
export function quoteForPosixShell(value: string): string {
  return `'${value.replaceAll("'", String.raw`'\''`)}'`;
}

/** What runs the POSIX text that stands, escaped for `printf %b`, in the word after it. */
const AS_USER = `echo ${PID_LINE} $$ >&2; eval "$(printf %b "$1")"`;

/**
 * The same as root. sudo gets the text on its standard input: of a word it would write all, secrets too, into the
 * server's log. The process id is told only once root has been given, and is that of the whole group.
 */
const AS_ROOT = `if [ "$(id -u)" = 0 ]; then ${AS_USER}; else printf %b "$1" | sudo -n -H -- sh -c "$2" muster $$; fi`;
const BY_SUDO = `text=$(cat) && exec </dev/null && echo ${PID_LINE} "$1" >&2 && eval "$text"`;

/**
 * The command line that runs a script over SSH, whatever the user's login shell is.
 *
 * sshd gives the command to the login shell. POSIX quoting means other things to csh (line ends, `!`) and fish
 * (backslashes), so that shell only sees one word of harmless characters, all others as `\0ooo`. An sh undoes that
 * with `printf %b` and evaluates the POSIX text in it: the variables, the arguments, then the script. Before that it
 * tells its process id, as sshd passes no signals on for root.
 *
 * @param options.asRoot by sudo if the user is not root; the script then has no input
 * @throws {AppError} `invalid_input` if it is longer than a server takes
 */
export function sshCommand(script: RemoteScript, options: { asRoot?: boolean } = {}): string {
  const variables = Object.entries(script.env ?? {}).map(
    ([name, value]) => `export ${name}=${quoteForPosixShell(value)}`,
  );
  const head = [
    ...variables,
    ['set', '--', ...script.args.map(quoteForPosixShell)].join(' '),
    '',
  ].join('\n');
  const word = escapeForAnyShell(head) + escapedText(script.text);
  const command =
    options.asRoot === true
      ? `exec sh -c '${AS_ROOT}' muster '${word}' '${BY_SUDO}'`
      : `exec sh -c '${AS_USER}' muster '${word}'`;
  if (command.length > MAX_COMMAND_BYTES) {
    throw new AppError(
      'invalid_input',
      `What ${script.name} is given is too long for one command (${command.length} bytes, at most ${MAX_COMMAND_BYTES}); shorten it.`,
    );
  }
  return command;
}

/** The command line that sends a signal to a script's process group, or, where that is gone, to the script. */
export function killCommand(pid: string, name: 'TERM' | 'KILL', asRoot: boolean): string {
  // The one form that dash, bash and busybox take alike.
  const kill = `kill -${name} -${pid} || kill -${name} ${pid}`;
  // What runs as root is not the user's own to end; a kill that reaches some of a group counts as done.
  return asRoot
    ? `exec sh -c 'if [ "$(id -u)" = 0 ]; then ${kill}; else sudo -n -- sh -c "${kill}"; fi'`
    : `exec sh -c '${kill}'`;
}

/** Texts of scripts are few, long, and always the same: they are escaped once. */
const KEPT_TEXTS = 100;
const escapedTexts = new Map<string, string>();

function escapedText(text: string): string {
  const known = escapedTexts.get(text);
  if (known !== undefined) return known;
  if (escapedTexts.size >= KEPT_TEXTS) escapedTexts.clear();
  // A server needs no comments, and some are reached by slow lines. No text has a line that only looks like one.
  const escaped = escapeForAnyShell(text.replaceAll(/^[ \t]*#.*\n/gm, ''));
  escapedTexts.set(text, escaped);
  return escaped;
}

/** Every byte as a word of any shell may hold it. */
const ESCAPED_BYTES: readonly string[] = Array.from({ length: 256 }, (_, byte) => {
  const character = String.fromCharCode(byte);
  return /[A-Za-z0-9 _./:=,@%+"$|&;<>()[\]{}*?#~^-]/.test(character)
    ? character
    : `\\0${byte.toString(8).padStart(3, '0')}`;
});

/** The value with every byte that some shell might take for more than itself as printf's `\0ooo`. */
function escapeForAnyShell(value: string): string {
  return Array.from(Buffer.from(value, 'utf8'), (byte) => ESCAPED_BYTES[byte]).join('');
}
