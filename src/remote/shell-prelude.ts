/**
 * What every script begins with: POSIX sh for dash, busybox ash and bash alike.
 * Standard output is kept for the answer on descriptor 3; whatever else prints goes to standard error.
 * A script may define `clean_up`, which runs however it ends, save by kill -9.
 *
 * No `$` is followed by a brace in these texts, so that they can be raw template strings.
 */
export const SHELL_PRELUDE = String.raw`
set -u
unset CDPATH
IFS=' 	
'
exec 3>&1 1>&2

clean_up() { :; }
trap 'clean_up' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 141' PIPE
trap 'exit 143' TERM

# json_text TEXT: a JSON string; at most 40 lines, control characters dropped.
json_text() {
  printf '"'
  printf '%s\n' "$1" | sed 40q | LC_ALL=C tr '\t\r' '  ' | LC_ALL=C tr -d '\001-\010\013\014\016-\037\177' |
    LC_ALL=C sed 's/\\/\\\\/g; s/"/\\"/g' | {
      glue=
      while IFS= read -r line; do printf '%s%s' "$glue" "$line"; glue='\n'; done
    }
  printf '"'
}

# json_lines MAX: standard input as a JSON list of strings, one for each line, at most MAX.
json_lines() {
  printf '['
  sed "$1q" | LC_ALL=C tr -d '\001-\011\013-\037\177' | LC_ALL=C sed 's/\\/\\\\/g; s/"/\\"/g' | {
    glue=
    while IFS= read -r line; do printf '%s"%s"' "$glue" "$line"; glue=,; done
  }
  printf ']'
}

# read_line FILE: "line" is its first one, or nothing.
read_line() {
  line=
  { IFS= read -r line <"$1"; } 2>/dev/null || :
}

# count_lines: how many standard input has; some wc pad the number.
count_lines() { echo $(wc -l); }

# answer MEMBERS: the end of a script that did its work; MEMBERS is empty or begins with a comma.
answer() {
  printf '{"ok":true%s}\n' "$1" >&3
  exit 0
}

# fail CODE MESSAGE [DETAILS [RETRYABLE]]: the end of a script that did not. DETAILS is a JSON object.
fail() {
  details='{}' retryable=false
  [ $# -lt 3 ] || details=$3
  [ $# -lt 4 ] || retryable=$4
  printf '{"ok":false,"code":"%s","message":%s,"details":%s,"retryable":%s}\n' \
    "$1" "$(json_text "$2")" "$details" "$retryable" >&3
  exit 1
}

# identify PID: what tells this process from a later one of the same number; nothing if it is gone or a zombie.
identify() {
  sed -n 's/.*) [^ZX] \([^ ]* \)\{18\}\([^ ]*\).*/\2/p' "/proc/$1/stat" 2>/dev/null
}

# identify_self: the same of this very process, as "identity".
identify_self() {
  identity=
  { IFS= read -r line <"/proc/$$/stat"; } 2>/dev/null || return 0
  set -- $line
  shift 21 2>/dev/null && identity=$1
}

# signal_group NAME PID: to that process group, or where there is none, to the process. In the one form that dash, bash
# and busybox take alike.
signal_group() {
  kill "-$1" "-$2" 2>/dev/null || {
    kill "-$1" "$2" 2>/dev/null || return
    # Between the two it may have become a group, and have started something.
    kill "-$1" "-$2" 2>/dev/null || :
  }
}

# lives PID IDENTITY: whether that process, or one that it started in its process group, still runs.
# Zombies do not count: where nobody reaps them, as in many containers, they stay for ever.
lives() {
  [ "$1" -gt 1 ] 2>/dev/null || return 1
  [ -d /proc/self ] || {
    kill -s 0 "$1" 2>/dev/null
    return
  }
  [ -z "$2" ] || [ "$(identify "$1")" != "$2" ] || return 0
  kill -0 "-$1" 2>/dev/null &&
    [ -n "$(cat /proc/[0-9]*/stat 2>/dev/null | sed -n "s/.*) [^ZX] [0-9]* $1 .*/lives/p")" ]
}
`;
