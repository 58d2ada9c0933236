import { STATE_PRELUDE } from './state-prelude.ts';

const FILE_PRELUDE = `${STATE_PRELUDE}
root=$1 name=$2
shift 2
dir=$(dirname "$name") base=$(basename "$name")
temp=
clean_up() { [ -z "$temp" ] || rm -rf "$temp"; }

# confine PATH: of a local server nothing outside its folder is touched, not even through a link.
confine() {
  [ -n "$root" ] || return 0
  nearest=$1
  until [ -d "$nearest" ]; do nearest=$(dirname "$nearest"); done
  case $(cd "$nearest" && pwd -P)/ in
    "$(cd "$root" && pwd -P)"/*) ;;
    *) fail action_failed "$1 leads, by a link, out of the folder that stands for this server; give another path." ;;
  esac
}

# need_folder FOLDER: makes it if "makedirs" says so.
need_folder() {
  [ ! -d "$1" ] || return 0
  [ "$makedirs" = true ] ||
    fail action_failed "The folder $1 does not exist on this server; make it first, or give makedirs: true."
  mkdir -p "$1" ||
    fail action_failed "The folder $1 cannot be made on this server; let the user of the connection write there."
}

# need_owners: before anything is done, as a misspelled owner should leave no half of it.
need_owners() {
  case $user in
    *[!0-9]*) id -u "$user" >/dev/null 2>&1 ||
      fail action_failed "The user $user does not exist on this server; make it or give another user." ;;
  esac
  case $group in
    *[!0-9]*) getent group "$group" >/dev/null 2>&1 || cut -d : -f 1 /etc/group | grep -qxF -- "$group" ||
      fail action_failed "The group $group does not exist on this server; make it or give another group." ;;
  esac
}

# attributes PATH: mode, user, its number, group, its number. The second form is that of BSD.
attributes() {
  stat -L -c '%a %U %u %G %g' "$1" 2>/dev/null || stat -L -f '%Lp %Su %u %Sg %g' "$1"
}

# settle PATH: gives it the "mode", "user" and "group" that are not empty; "settled" is true if it had others.
settle() {
  settled=false owner=
  set -- "$1" $(attributes "$1")
  [ $# -eq 6 ] || fail action_failed "$name cannot be looked at on this server; see the output of stat."
  [ -z "$user" ] || [ "$user" = "$3" ] || [ "$user" = "$4" ] || owner=$user
  [ -z "$group" ] || [ "$group" = "$5" ] || [ "$group" = "$6" ] || owner=$owner:$group
  wanted=$mode
  if [ -n "$owner" ]; then
    # It takes set-user-ID away, so the mode comes after it, even if it was right.
    [ -n "$wanted" ] || wanted=$(printf %04d "$2")
    chown "$owner" "$1" ||
      fail action_failed "$name cannot be given to $owner; let root be the user of the connection."
    settled=true
  elif [ "$wanted" = "$(printf %04d "$2")" ]; then
    wanted=
  fi
  [ -n "$wanted" ] || return 0
  # With five digits GNU chmod takes set-group-ID away from a folder, with fewer it does not.
  chmod "0$wanted" "$1" ||
    fail action_failed "$name cannot be given the mode $wanted; let its owner be the user of the connection."
  settled=true
}
`;

/** `$1…` are root, name, makedirs, mode, user, group, whether to replace, and the contents. */
export const MANAGED_TEXT = `${FILE_PRELUDE}
makedirs=$1 mode=$2 user=$3 group=$4 replace=$5 contents=$6

# has_contents FILE: first by size, so that a large file is not read; there may be no cmp on a server.
has_contents() {
  [ "$(wc -c <"$1")" -eq "$(printf %s "$contents" | wc -c)" ] && [ "$(cat "$1" && echo x)" = "$contents"x ]
}

file=$name
if [ -L "$name" ]; then
  file=$(readlink -f "$name") || fail action_failed "The link $name leads nowhere; remove it or make what it points to."
  dir=$(dirname "$file")
fi
confine "$dir"
if [ -e "$file" ] && [ ! -f "$file" ]; then
  fail action_failed "$name is on this server, but is not a file; remove it or give another name."
fi
need_owners
if [ -e "$file" ]; then
  if [ "$replace" != true ] || has_contents "$file"; then
    settle "$file"
    [ "$settled" = true ] || { echo "$name is as it should be."; tell unchanged; }
    echo "$name has been given its owner and mode."
    tell changed
  fi
  set -- $(attributes "$file")
  [ -n "$mode" ] || mode=$(printf %04d "$1")
  [ -n "$user" ] || user=$3
  [ -n "$group" ] || group=$5
  did='been rewritten'
else
  need_folder "$dir"
  [ -n "$mode" ] || mode=$(printf %04o $((0666 & ~$(umask))))
  did='been made'
fi
temp=$(mktemp "$dir/.muster-XXXXXX") ||
  fail action_failed "Nothing can be written to $dir; let the user of the connection write there."
printf %s "$contents" >"$temp" && has_contents "$temp" ||
  fail action_failed "$name cannot be written; make room on its disk."
settle "$temp"
mv -f "$temp" "$file" || fail action_failed "$name cannot be replaced; see the output of mv."
temp=
echo "$name has $did."
tell changed
`;

/** `$1…` are root, name, makedirs, mode, user and group. */
export const DIRECTORY_TEXT = `${FILE_PRELUDE}
makedirs=$1 mode=$2 user=$3 group=$4

confine "$name"
need_owners
if [ -d "$name" ]; then
  settle "$name"
  [ "$settled" = true ] || { echo "$name is as it should be."; tell unchanged; }
  echo "$name has been given its owner and mode."
  tell changed
fi
if [ -e "$name" ] || [ -L "$name" ]; then
  fail action_failed "$name is on this server, but is not a folder; remove it or give another name."
fi
need_folder "$dir"
# Nobody may look in before it has its mode.
if [ -n "$mode" ]; then mkdir -m 0700 "$name"; else mkdir "$name"; fi ||
  fail action_failed "$name cannot be made on this server; let the user of the connection write to $dir."
settle "$name"
echo "$name has been made."
tell changed
`;

const GUARD = `
# guard: refuses to remove what the clone lies in, and what is right below / although its name does not say so.
guard() {
  case $path/ in
    "$name"/*) fail action_failed "$name holds the clone $path and is not removed; deinitialize the gitdeploy first." ;;
  esac
  above=$(cd "$dir" && pwd -P) || fail action_failed "The folder $dir cannot be entered; check its permissions."
  if [ "$above" = / ] && [ "$dir" != / ]; then
    fail action_failed "$name is /$base by a link and is not removed; give the path that is meant."
  fi
  clone=$(cd "$path" 2>/dev/null && pwd -P)
  case $clone/ in
    "$above/$base"/*) fail action_failed "$name holds the clone $path and is not removed; deinitialize the gitdeploy first." ;;
  esac
}
`;

/** `$1…` are root, name and the gitdeploy's path. */
export const ABSENT_TEXT = `${FILE_PRELUDE}${GUARD}
path=$1

if [ ! -e "$name" ] && [ ! -L "$name" ]; then
  echo "$name is not there."
  tell unchanged
fi
confine "$dir"
guard
rm -rf "$name" || fail action_failed "$name cannot be removed; let the user of the connection write to $dir."
echo "$name has been removed."
tell changed
`;

/** `$1…` are root, name, makedirs, target, whether to force, and the gitdeploy's path. */
export const SYMLINK_TEXT = `${FILE_PRELUDE}${GUARD}
makedirs=$1 target=$2 force=$3 path=$4

if [ -L "$name" ] && [ "$(readlink "$name")" = "$target" ]; then
  echo "$name points to $target."
  tell unchanged
fi
confine "$dir"
if [ ! -L "$name" ] && [ -e "$name" ]; then
  [ "$force" = true ] ||
    fail action_failed "$name is on this server, but is not a link; remove it, or give force: true to lose it."
  guard
fi
need_folder "$dir"
temp=$(mktemp -d "$dir/.muster-XXXXXX") && ln -s -- "$target" "$temp/link" ||
  fail action_failed "No link can be made in $dir; let the user of the connection write there."
if [ -e "$name" ] && [ ! -L "$name" ]; then
  rm -rf "$name" || fail action_failed "$name cannot be removed; let the user of the connection write to $dir."
fi
# Without -T a link to a folder is taken for the folder, and the new link lands inside; not every mv has it.
mv -fT "$temp/link" "$name" 2>/dev/null || { rm -f "$name" && mv -f "$temp/link" "$name"; } ||
  fail action_failed "$name cannot be replaced; see the output of mv."
echo "$name now points to $target."
tell changed
`;
