import { GIT_PRELUDE } from './git-prelude.ts';

/**
 * `GIT_PRELUDE`, the lock of a clone and its fence (DESIGN.md, decision 11).
 *
 * The lock is `.git/muster.lock`, a folder, with `owner` in it: fence, process, that process's start time, holder.
 * It is taken over when the process and all that it started have ended, whatever the fences: while they live, two
 * would work in one clone. Who only waits for a go (`AWAIT_GO`) is sent away by a later fence. The fence is the highest
 * number that was ever let in; an older one is refused for good.
 */
export const CLONE_LOCK_PRELUDE = String.raw`${GIT_PRELUDE}
locked=false
# unlock FILES…: and remove these first
unlock() {
  [ "$locked" = false ] || rm -rf "$@" "$GIT_DIR/muster.lock"
  locked=false
}
clean_up() { unlock; }

# take_lock FENCE HOLDER
take_lock() {
  lock=$GIT_DIR/muster.lock
  tries=0
  until mkdir "$lock" 2>/dev/null; do
    tries=$((tries + 1))
    [ "$tries" -le 10 ] || fail command_failed "$lock cannot be made; check the permissions and the disk." '{}' true
    owner=$(cat "$lock/owner" 2>/dev/null)
    if [ -z "$owner" ]; then
      # It is being made or removed at this moment, or its maker was killed between two commands.
      if [ "$tries" -lt 3 ]; then
        sleep 1
        continue
      fi
    else
      IFS=' ' read -r owner_fence owner_pid owner_start owner_name <<OWNER
$owner
OWNER
      if lives "$owner_pid" "$owner_start"; then
        read_line "$lock/waiting"
        if [ -n "$line" ] && [ "$1" -gt "$owner_fence" ] && [ "$tries" -lt 5 ]; then
          signal_group TERM "$owner_pid"
          sleep 1
          continue
        fi
        fail path_busy "Another deployment works at $GIT_WORK_TREE ($owner_name); try again when it has ended." \
          "{\"holder\":$(json_text "$owner_name"),\"fence\":$owner_fence,\"pid\":$owner_pid}" true
      fi
    fi
    # Moved first, then judged again: of two that take over at once, one must not remove the other's new lock.
    aside=$lock.stale.$$
    mv "$lock" "$aside" 2>/dev/null || continue
    if [ "$(cat "$aside/owner" 2>/dev/null)" = "$owner" ]; then
      rm -rf "$aside"
    else
      mv "$aside" "$lock"
    fi
  done
  locked=true
  # What the script makes for itself goes with the lock, also when it is killed and another one takes over.
  work=$lock
  identify_self
  echo "$1 $$ $identity $2" >"$lock/owner" || fail command_failed "$lock cannot be written; check the disk."
}

# check_fence FENCE: "line" is the one that was let in last.
check_fence() {
  read_line "$GIT_DIR/muster-fence"
  [ -n "$line" ] || line=0
  [ "$1" -ge "$line" ] ||
    fail fenced_off "A later deployment has been at $GIT_WORK_TREE already; this one ($1) may not go on." \
      "{\"fence\":$1,\"last\":$line}"
}

# pass_fence FENCE
pass_fence() {
  check_fence "$1"
  [ "$1" -eq "$line" ] || {
    echo "$1" >"$work/fence" && mv -f "$work/fence" "$GIT_DIR/muster-fence"
  } || fail command_failed "$GIT_DIR/muster-fence cannot be written; check the disk." '{}' true
}

# remove_stale_git_locks BRANCH: what git leaves when it is killed makes every later git fail.
remove_stale_git_locks() {
  for name in index.lock HEAD.lock ORIG_HEAD.lock packed-refs.lock config.lock "refs/heads/$1.lock" \
    "refs/remotes/origin/$1.lock" refs/muster/deployed.lock refs/muster/head.lock \
    refs/muster/head-before.lock; do
    remove_stale_lock "$GIT_DIR/$name"
  done
}

# keep COMMIT: a name for a commit that would else be found by nobody; told in the answer.
kept=
keep() {
  remove_stale_lock "$GIT_DIR/refs/muster/kept/$1.lock"
  git update-ref "refs/muster/kept/$1" "$1" 2>&1 || fail command_failed "The commit $1 cannot be kept."
  kept="$kept
refs/muster/kept/$1"
}

# keep_work_tree MESSAGE: the tracked files as they are now, as a commit on no branch.
keep_work_tree() {
  found=$work/found
  cp -p "$GIT_DIR/index" "$found" && words=$(on_index "$found" add -u 2>&1) && tree=$(on_index "$found" write-tree) &&
    saved=$(git commit-tree -p HEAD -m "$1" "$tree") ||
    fail command_failed "What is in $GIT_WORK_TREE cannot be kept: $words"
  keep "$saved"
}

# differing COMMIT: the files of that commit that are otherwise in the work tree, or are missing.
differing() {
  seen=$work/seen
  rm -f "$seen"
  on_index "$seen" read-tree "$1" && {
    on_index "$seen" update-index -q --refresh >/dev/null 2>&1
    on_index "$seen" diff-files --name-only | sort
  }
}

# spare INDEX WANT OTHER: takes out of INDEX, which is as OTHER, the files that only OTHER has and that are here
# otherwise: whoever came before or between has put them there, and nobody else has them. What git was writing when it was
# killed is no such file: OTHER's goes on where it ends.
spare() {
  foreign=$work/foreign foreign_list=$work/foreign-list
  rm -f "$foreign"
  on_index "$foreign" read-tree "$3" && git ls-tree -r -z --name-only "$2" >"$foreign_list" &&
    on_index "$foreign" update-index -z --force-remove --stdin <"$foreign_list" || return 1
  on_index "$foreign" update-index -q --refresh >/dev/null 2>&1
  on_index "$foreign" diff-files --name-only --diff-filter=MT >"$foreign_list" || return 1
  while IFS= read -r name; do
    [ -f "$name" ] && [ ! -L "$name" ] && size=$(wc -c <"$name") &&
      [ "$size" -le "$(git cat-file -s "$3:$name" 2>/dev/null || echo -1)" ] &&
      [ -z "$(git cat-file blob "$3:$name" 2>/dev/null | cmp - "$name" 2>/dev/null)" ] && rm -f "$name"
  done <"$foreign_list"
  on_index "$foreign" diff-files --name-only -z --diff-filter=MT >"$foreign_list" &&
    on_index "$1" update-index -z --force-remove --stdin <"$foreign_list"
}

# put_tree WANT OTHER [spare]: the work tree as WANT, where it was on its way between the two. The index stays out of it.
put_tree() {
  scratch_index=$work/restored
  rm -f "$scratch_index"
  on_index "$scratch_index" read-tree "$2" 2>&1 || return 1
  # Files that are as OTHER has them get their times noted, so that they are not written again below.
  on_index "$scratch_index" update-index -q --refresh >/dev/null 2>&1
  [ $# -lt 3 ] || spare "$scratch_index" "$1" "$2" || return 1
  on_index "$scratch_index" read-tree --reset -u "$1" 2>&1
}

# recover: end what a killed or failed switch began. The note .git/muster-switch is written before the first file
# is touched and removed after the last. A switch that moved the branch is brought to its end, any other is undone.
recover() {
  [ -f "$GIT_DIR/muster-switch" ] || return 0
  IFS=' ' read -r was_local was_result was_branch was_tip <"$GIT_DIR/muster-switch"
  # A file that is as neither side has it: half written, or edited since. It may be the only copy of an edit.
  differing "$was_local" >"$work/differs"
  [ -z "$(differing "$was_result" | comm -12 "$work/differs" -)" ] ||
    keep_work_tree 'Found after a deployment that was broken off'
  if [ "$(git symbolic-ref -q HEAD)" = "refs/heads/$was_branch" ] && [ "$(git rev-parse -q --verify HEAD)" = "$was_result" ]; then
    put_tree "$was_result" "$was_local" spare && mv -f "$scratch_index" "$GIT_DIR/index" || return 1
  else
    put_tree "$was_local" "$was_result" spare || return 1
    # Of a switch that found no changes made here, the index may be that of the result already.
    [ "$was_local" != "$was_tip" ] || mv -f "$scratch_index" "$GIT_DIR/index" || return 1
    if [ "$was_tip" = none ]; then
      git update-ref -d "refs/heads/$was_branch"
    elif [ "$(git rev-parse -q --verify "refs/heads/$was_branch")" != "$was_tip" ]; then
      git update-ref "refs/heads/$was_branch" "$was_tip"
    fi || return 1
  fi
  rm -f "$GIT_DIR/muster-switch"
}
`;
