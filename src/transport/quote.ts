import { createHash } from 'node:crypto';
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

/** Where a server keeps texts of scripts, each under its name. */
const KEPT = '$HOME/.cache/muster';
/** What ends a call by a name that the server does not know. No script of Muster's ends so. */
export const UNKNOWN_NAME = 97;

/** The same in two words, of which the server keeps the second one under the name in the third. Old ones go. */
const AND_KEEP = `echo ${PID_LINE} $$ >&2; _t=$(printf %b "$2"); _d=${KEPT}; (umask 077; mkdir -p "$_d" && printf %s "$_t" >"$_d/$3.$$" && mv -f "$_d/$3.$$" "$_d/$3"; find "$_d" -type f -mtime +30 -exec rm -f {} +) >/dev/null 2>&1; eval "$(printf %b "$1")"; eval "$_t"`;
/** The same with a name for the second word. What is kept is run only if it is what was sent: git says its name anew. */
const BY_NAME = `echo ${PID_LINE} $$ >&2; _t=$(cat ${KEPT}/$2 2>/dev/null) && [ "$(printf %s "$_t" | git hash-object --stdin 2>/dev/null)" = "$2" ] || exit ${UNKNOWN_NAME}; eval "$(printf %b "$1")"; eval "$_t"`;

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
 * @param options.text whether the server is to `keep` the script's text under its name, or is called by this `name` alone;
 *   not for root. Default neither
 * @throws {AppError} `invalid_input` if it is longer than a server takes
 */
export function sshCommand(
  script: RemoteScript,
  options: { asRoot?: boolean; text?: 'keep' | 'name' | undefined } = {},
): string {
  const variables = Object.entries(script.env ?? {}).map(
    ([name, value]) => `export ${name}=${quoteForPosixShell(value)}`,
  );
  const head = [
    ...variables,
    ['set', '--', ...script.args.map(quoteForPosixShell)].join(' '),
    '',
  ].join('\n');
  const command = commandOf(escapeForAnyShell(head), preparedText(script.text), options);
  if (command.length > MAX_COMMAND_BYTES) {
    throw new AppError(
      'invalid_input',
      `What ${script.name} is given is too long for one command (${command.length} bytes, at most ${MAX_COMMAND_BYTES}); shorten it.`,
    );
  }
  return command;
}

function commandOf(
  head: string,
  { escaped, name }: PreparedText,
  { asRoot = false, text }: { asRoot?: boolean; text?: 'keep' | 'name' | undefined },
): string {
  if (asRoot) return `exec sh -c '${AS_ROOT}' muster '${head}${escaped}' '${BY_SUDO}'`;
  if (text === 'keep') return `exec sh -c '${AND_KEEP}' muster '${head}' '${escaped}' ${name}`;
  if (text === 'name') return `exec sh -c '${BY_NAME}' muster '${head}' ${name}`;
  return `exec sh -c '${AS_USER}' muster '${head}${escaped}'`;
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

/** The text of a script as servers get it. */
interface PreparedText {
  /** For a word of any shell. */
  readonly escaped: string;
  /** What git calls a file with it. */
  readonly name: string;
}

/** Texts of scripts are few, long, and always the same: they are prepared once. */
const MAX_PREPARED = 100;
const preparedTexts = new Map<string, PreparedText>();

function preparedText(text: string): PreparedText {
  const known = preparedTexts.get(text);
  if (known !== undefined) return known;
  if (preparedTexts.size >= MAX_PREPARED) preparedTexts.clear();
  // A server needs no comments, and some are reached by slow lines. No text has a line that only looks like one.
  const bare = text.replaceAll(/^[ \t]*#.*\n/gm, '').trimEnd();
  const blob = `blob ${Buffer.byteLength(bare)}\0${bare}`;
  const name = createHash('sha1').update(blob).digest('hex');
  const prepared = { escaped: escapeForAnyShell(bare), name };
  preparedTexts.set(text, prepared);
  return prepared;
}

/** The name under which a server keeps the text of a script. */
export const nameOfText = (script: RemoteScript): string => preparedText(script.text).name;

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
