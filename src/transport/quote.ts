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

/**
 * The command line that runs a script over SSH, whatever the user's login shell is.
 *
 * sshd gives the command to the login shell. POSIX quoting means other things to csh (line ends, `!`) and fish
 * (backslashes), so that shell only sees one word of harmless characters, all others as `\0ooo`. An sh undoes that
 * with `printf %b` and evaluates the POSIX text in it: the variables, the arguments, then the script. Before that it
 * tells its process id, as sshd passes no signals on for root.
 *
 * @throws {AppError} `invalid_input` if it is longer than a server takes
 */
export function sshCommand(script: RemoteScript): string {
  const variables = Object.entries(script.env ?? {}).map(
    ([name, value]) => `export ${name}=${quoteForPosixShell(value)}`,
  );
  const program = [
    ...variables,
    ['set', '--', ...script.args.map(quoteForPosixShell)].join(' '),
    script.text,
  ].join('\n');
  const command = `exec sh -c 'echo ${PID_LINE} $$ >&2; eval "$(printf %b "$1")"' muster '${escapeForAnyShell(program)}'`;
  if (command.length > MAX_COMMAND_BYTES) {
    throw new AppError(
      'invalid_input',
      `What ${script.name} is given is too long for one command (${command.length} bytes, at most ${MAX_COMMAND_BYTES}); shorten it.`,
    );
  }
  return command;
}

/** The value with every byte that some shell might take for more than itself as printf's `\0ooo`. */
function escapeForAnyShell(value: string): string {
  let escaped = '';
  for (const byte of Buffer.from(value, 'utf8')) {
    const character = String.fromCharCode(byte);
    escaped += /[A-Za-z0-9 _./:=,@%+"$|&;<>()[\]{}*?#~^-]/.test(character)
      ? character
      : `\\0${byte.toString(8).padStart(3, '0')}`;
  }
  return escaped;
}
