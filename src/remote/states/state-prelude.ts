import { SHELL_PRELUDE } from '../shell-prelude.ts';

/**
 * What the scripts of `file`, `pkg` and `service` begin with. All that they and their programs print goes to
 * standard error, so that it stays in order; standard output has the answer alone.
 */
export const STATE_PRELUDE = String.raw`${SHELL_PRELUDE}
# Over SSH the user's PATH often lacks where the system keeps its own programs.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
export PATH

# tell STATE [EXIT-CODE]: the end of a state.
tell() {
  code=null
  [ $# -lt 2 ] || code=$2
  answer ",\"state\":\"$1\",\"exitCode\":$code,\"timedOut\":false"
}

# as_root COMMAND…: by sudo if this is not root, and sudo would run just that without a password.
as_root() {
  if [ "$(id -u)" != 0 ] && sudo -n -l -- "$@" >/dev/null 2>&1; then
    sudo -n -- "$@"
  else
    "$@"
  fi
}
`;
