/** What a script says, on a line of its standard output, when it waits for `GO`. */
export const READY = 'ready';
/** The line on its standard input that it waits for. */
export const GO = 'go';

/**
 * For scripts that change what a server shows, in two parts: all that takes time and changes nothing, then, when whoever
 * runs them says so, the rest. So servers that are to change together do, although one is sooner ready than another.
 *
 * `together` says whether to wait, `work` is the folder of the clone's lock. What is in the file `waiting` there tells
 * others that nothing has been changed yet: whoever comes with a later fence may end the script (`take_lock`), as whoever
 * was to say go may be frozen. If standard input ends instead, so does the script.
 *
 * Between being told and the first change no process is started.
 */
export const AWAIT_GO = String.raw`
await_go() {
  [ "$together" = true ] || return 0
  together=false
  echo waiting >"$work/waiting" || fail command_failed "$work cannot be written; check the disk." '{}' true
  echo ${READY} >&3
  IFS= read -r line || line=
  [ "$line" = ${GO} ] ||
    fail command_failed 'Whoever wanted the switch has gone before it began; nothing was changed.' '{}' true
  : >"$work/waiting"
}
`;
