import { CLONE_LOCK_PRELUDE } from './clone-lock.ts';

/**
 * `CLONE_LOCK_PRELUDE` and what both ways to deinitialize have in common. `home` is the folder that has the `.git`,
 * `installation` the one that goes. A script defines `tidy`, which removes the folders that are empty by then.
 */
export const LEAVE_CLONE_PRELUDE = String.raw`${CLONE_LOCK_PRELUDE}
# remove_leaving: "made" says whether Muster made the folder that the repository was in.
remove_leaving() {
  made=$(git config --file "$leaving/config" --get muster.madePath 2>/dev/null)
  rm -rf "$leaving"
  tidy
}

# require_ours: a repository of this installation. If there is none, what a kill has left of it goes.
require_ours() {
  # The repository on its way out: renamed first, so that a kill never leaves half a .git behind.
  leaving=$home/.muster-removed made=
  if [ ! -e "$home/.git" ]; then
    if [ -d "$leaving" ] && [ "$(git config --file "$leaving/config" --get muster.installation 2>/dev/null)" = "$installation" ]; then
      remove_leaving
    else
      tidy
    fi
    answer ',"state":"absent","left":[],"leftCount":0'
  fi
  [ "$(clone_value "$home" muster.installation)" = "$installation" ] ||
    fail path_occupied "What is at $home is not a clone of this Muster; it was not touched."
}

# write_kept FOLDER: what refs/muster/kept hold and no build does, as files, for after the repository. Only who may
# have written them reads them there: where they come from, a web server may have been told to hide them.
write_kept() {
  index=$work/kept
  for commit in $(git for-each-ref --format='%(objectname)' refs/muster/kept); do
    [ -d "$1" ] || mkdir -m 700 "$1" || return 1
    base=$(git merge-base "$commit" $(git for-each-ref --format='%(objectname)' refs/remotes/origin) 2>/dev/null) ||
      base=$(git hash-object -t tree -w /dev/null)
    on_index "$index" read-tree "$commit" &&
      git diff-tree -r -z --no-renames --name-only --diff-filter=d "$base" "$commit" >"$work/list" &&
      on_index "$index" checkout-index -f -z --stdin --prefix="$1/$(printf %.12s "$commit")/" <"$work/list" || return 1
  done
}

# leave: the repository goes, and the answer tells of the files that stay, whose names are the lines of work/left.
leave() {
  left=$(json_lines 200 <"$work/left")
  count=$(count_lines <"$work/left")
  words=$(rm -rf "$leaving" 2>&1 && mv "$home/.git" "$leaving" 2>&1) ||
    fail command_failed "$home/.git cannot be removed: $words"
  locked=false
  unset GIT_DIR GIT_WORK_TREE
  cd /
  remove_leaving
  if [ "$count" -eq 0 ]; then state=removed; else state=kept_files; fi
  answer ",\"state\":\"$state\",\"left\":$left,\"leftCount\":$count"
}
`;
