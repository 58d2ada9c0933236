import type { DeinitializeOptions } from '../deinitialize.ts';
import { LEAVE_CLONE_PRELUDE } from '../leave-clone.ts';
import { checkLine } from '../operands.ts';
import { defineScript, type RemoteScript } from '../script.ts';
import { releaseOperands } from './layout.ts';
import { RELEASES_PRELUDE } from './prelude.ts';

/**
 * Remove the link at `path`, all releases and the repository beside it. Files that were changed or added on the server
 * stay where they are in `releases/` and are told, by their paths in the folder beside `path`; what pruning has kept of
 * such files as commits is written to `kept/<commit>/` there, and told likewise. Whatever else has taken the link's place
 * stays, too. May be repeated, also after a kill. Answers as `deinitializeScript`.
 * Fails with `path_occupied` for the folder of someone else, `path_busy`.
 */
export function deinitializeReleasesScript(options: DeinitializeOptions): RemoteScript {
  return defineScript({
    name: 'deinitialize',
    text: TEXT,
    args: [...releaseOperands(options.path), checkLine('installation id', options.installationId)],
  });
}

const TEXT = String.raw`${LEAVE_CLONE_PRELUDE}${RELEASES_PRELUDE}
path=$1 home=$2 folder=$3 installation=$4
require_git
cd /

tidy() {
  # What a kill in the last moment has left is empty, too.
  rmdir "$home/releases" 2>/dev/null
  rmdir "$home" 2>/dev/null || :
}
require_ours

enter_releases "$installation"
take_lock "$(cat "$GIT_DIR/muster-fence" 2>/dev/null || echo 0)" deinitialize
# Before anything goes: if there is no room for it, all stays as it is.
words=$(write_kept "$home/kept" 2>&1) ||
  fail command_failed "What was kept of changes made at $path cannot be written to $home/kept; make room, or remove its refs/muster/kept: $words"
find_current
[ -z "$current" ] || words=$(rm -f "$path" 2>&1) || fail command_failed "The link $path cannot be removed: $words"
# A link of ours whose release is gone shows nothing, and is ours all the same.
case $(readlink "$path" 2>/dev/null) in "$folder"/releases/*) [ -e "$path" ] || rm -f "$path" ;; esac
rm -f "$home-link"

nothing=$(git hash-object -t tree -w /dev/null)
# tell_files FOLDER INDEX: the files in that folder, by their names in "home"; git may have quoted them.
tell_files() (
  GIT_WORK_TREE=$home/$1
  export GIT_WORK_TREE
  on_index "$2" ls-files --others | sed -e "s|^\"|\"$1/|" -e t -e "s|^|$1/|" >>"$work/left"
)
: >"$work/left"
[ ! -d "$home/kept" ] || tell_files kept "$work/none"
# empty_release NAME: every file that is as it was delivered goes, and the folders that this empties.
empty_release() {
  index=$work/index
  rm -f "$metas/$1/tree"
  if [ -f "$metas/$1/index" ]; then
    copy_index "$1" &&
      on_release "$1" "$index" diff-files --name-only -z >"$work/list" &&
      on_release "$1" "$index" update-index -z --force-remove --stdin <"$work/list" &&
      on_release "$1" "$index" read-tree -m -u "$nothing" || return 1
  fi
  rm -f "$index"
  tell_files "releases/$1" "$index"
  rmdir "$releases/$1" 2>/dev/null || :
}
for each in $(ls "$metas"); do
  [ -d "$releases/$each" ] || continue
  words=$(empty_release "$each" 2>&1) || fail command_failed "The release $each in $home cannot be removed: $words"
done

leave
`;
