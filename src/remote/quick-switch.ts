/**
 * The short way of `switch`, for a clone that is as Muster has left it: nothing was changed, HEAD is where it was put, and
 * the target was staged for this branch. It comes to the same as the long way, with as few processes as will do, since
 * these are what a switch costs. Whatever is otherwise is left to the long way, untouched.
 */
export const QUICK_SWITCH = String.raw`
# info_is_written PATTERNS…: whether write_info would change nothing.
info_is_written() {
  is_ref info/attributes "$ATTRIBUTES" || return 1
  [ -f "$GIT_DIR/info/exclude" ] || return 1
  while IFS= read -r line; do
    case $line in '# Written by Muster'*) continue ;; esac
    [ $# -gt 0 ] && [ "$line" = "$1" ] || return 1
    shift
  done <"$GIT_DIR/info/exclude"
  [ $# -eq 0 ]
}

# list_changes: what the target changes, into work/changes; not if it does not come after what is here. Mostly it comes
# next, which the same process tells.
list_changes() {
  git diff-tree -r --no-renames --name-status --format=%P "$target" >"$work/changes" 2>/dev/null || return 1
  read_line "$work/changes"
  [ "$line" = "$from" ] || {
    git merge-base --is-ancestor "$from" "$target" &&
      git diff-tree -r --no-renames --name-status "$from" "$target" >"$work/changes"
  } 2>/dev/null
}

# is_in_way NAME: whether something is where this file is to be, or something but a folder where one of its folders is.
is_in_way() {
  place= blanks=$IFS
  set -f
  IFS=/
  set -- $1
  IFS=$blanks
  set +f
  while [ $# -gt 1 ]; do
    place=$place$1
    [ ! -L "$place" ] && { [ ! -e "$place" ] || [ -d "$place" ]; } || return 0
    place=$place/
    shift
  done
  [ -e "$place$1" ] || [ -L "$place$1" ]
}

# meets_untracked NAMES: whether something is in the way of one of these files.
meets_untracked() {
  [ -n "$1" ] || return 1
  while IFS= read -r name; do
    ! is_in_way "$name" || return 0
  done <<NAMES
$1
NAMES
  return 1
}

# count_changes: "changed", the files that the target changes; not if it would meet an untracked file, or a name that git
# has to quote.
count_changes() {
  if [ "$from" = "$known_parent" ]; then
    changed=$known_changes
    ! meets_untracked "$known_added"
    return
  fi
  list_changes || return 1
  changed=0
  while IFS='	' read -r kind name; do
    [ -n "$name" ] || continue
    changed=$((changed + 1))
    case $kind$name in
      [!ADM]* | ?'"'*) return 1 ;;
      A*) ! is_in_way "$name" || return 1 ;;
    esac
  done <"$work/changes"
}

# is_untouched: whether nothing was changed here, and nothing is in the way of the target. Files that were written in the
# very second in which the index was may have changed since, and are read again each time, until an index is written. status
# writes it; diff-index, which does not, would leave that to whoever writes the files, after reading them for itself.
is_untouched() {
  [ "$state" = unchanged ] || count_changes || return 1
  git status --porcelain --no-renames --untracked-files=no >"$work/status" 2>/dev/null && [ ! -s "$work/status" ]
}

# quick_switch PATTERNS…: ends the script, or comes back with nothing done.
quick_switch() {
  [ ! -e "$note" ] && [ ! -e "$GIT_DIR/MERGE_HEAD" ] || return 0
  is_ref HEAD "ref: refs/heads/$branch" || return 0
  read_line "$GIT_DIR/refs/heads/$branch"
  from=$line
  [ -n "$from" ] && is_ref refs/muster/deployed "$from" && is_ref refs/muster/head "$from" || return 0
  is_ref "refs/remotes/origin/$branch" "$target" && info_is_written "$@" || return 0
  scan_config "$path" "$branch"
  [ -n "$tracks" ] || return 0
  if [ "$step" != - ] && [ -f "$told" ]; then
    IFS=' ' read -r told_step line <"$told"
    [ "$told_step" != "$step" ] || return 0
  fi
  state=switched changed=0
  [ "$from" != "$target" ] || state=unchanged
  is_untouched || return 0

  echo "$fence" >"$work/muster-fence" &&
    echo "$step $from $target $from" >"$work/muster-switched" &&
    echo "$from $target $branch $from" >"$work/muster-switch" || return 0
  if [ "$state" = unchanged ]; then
    mv -f "$work/muster-fence" "$GIT_DIR/muster-fence" || return 0
  else
    await_go
    # From here on files change. The note says how to end it or to undo it, whoever comes next.
    mv -f "$work/muster-fence" "$work/muster-switched" "$work/muster-switch" "$GIT_DIR/" ||
      fail command_failed "$note cannot be written; check the disk." '{}' true
    if ! git read-tree -m -u "$from" "$target" >"$work/words" 2>&1; then
      refuses_to_begin || undo "$(cat "$work/words")"
      return 0
    fi
    git update-ref -m 'muster: deploy' --stdin >"$work/words" 2>&1 <<REFS || {
update refs/heads/$branch $target $from
update refs/muster/head-before $from
update refs/muster/deployed $target $from
update refs/muster/head $target $from
REFS
      words=$(cat "$work/words")
      undo "$words"
      fail command_failed "The branch $branch could not be moved, and the files were put back: $words"
    }
  fi
  # Unlocked before the answer, so that whoever hears it finds the clone free.
  unlock "$note"
  answer ",\"state\":\"$state\",\"from\":\"$from\",\"head\":\"$target\",\"localCommit\":null,\"changedFiles\":$changed,\"modified\":false,\"kept\":[]"
}
`;
