import { CLONE_LOCK_PRELUDE } from '../clone-lock.ts';
import type { DeinitializeOptions } from '../deinitialize.ts';
import { checkLine } from '../operands.ts';
import { defineScript, type RemoteScript } from '../script.ts';
import { releaseOperands } from './layout.ts';
import { RELEASES_PRELUDE } from './prelude.ts';

/**
 * Remove the link at `path`, all releases and the repository beside it. Files that were changed or added on the server
 * stay where they are in `releases/` and are told, by their paths in the folder beside `path`; so does whatever else
 * has taken the link's place. May be repeated, also after a kill. Answers as `deinitializeScript`.
 * Fails with `path_occupied` for the folder of someone else, `path_busy`.
 */
export function deinitializeReleasesScript(options: DeinitializeOptions): RemoteScript {
  return defineScript({
    name: 'deinitialize',
    text: TEXT,
    args: [...releaseOperands(options.path), checkLine('installation id', options.installationId)],
  });
}

const TEXT = String.raw`${CLONE_LOCK_PRELUDE}${RELEASES_PRELUDE}
path=$1 home=$2 folder=$3 installation=$4
require_git
cd /

# The repository on its way out: renamed first, so that a kill never leaves half of it behind.
leaving=$home/.muster-removed
gone() {
  rm -rf "$leaving"
  rmdir "$home/releases" 2>/dev/null
  rmdir "$home" 2>/dev/null || :
}

if [ ! -e "$home/.git" ]; then
  if [ -d "$leaving" ] && [ "$(git config --file "$leaving/config" --get muster.installation 2>/dev/null)" = "$installation" ]; then
    gone
  fi
  # Empty, these are what a kill in the last moment has left.
  rmdir "$home/releases" "$home" 2>/dev/null
  answer ',"state":"absent","left":[],"leftCount":0'
fi
[ "$(clone_value "$home" muster.installation)" = "$installation" ] ||
  fail path_occupied "What is at $home is not of this Muster; it was not touched."

enter_releases "$installation"
take_lock "$(cat "$GIT_DIR/muster-fence" 2>/dev/null || echo 0)" deinitialize
find_current
[ -z "$current" ] || words=$(rm -f "$path" 2>&1) || fail command_failed "The link $path cannot be removed: $words"
# A link of ours whose release is gone shows nothing, and is ours all the same.
case $(readlink "$path" 2>/dev/null) in "$folder"/releases/*) [ -e "$path" ] || rm -f "$path" ;; esac
rm -f "$home-link"

nothing=$(git hash-object -t tree -w /dev/null)
: >"$work/left"
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
  # The files that stay, by their names in the folder; git may have quoted them.
  on_release "$1" "$index" ls-files --others | sed -e "s|^\"|\"releases/$1/|" -e t -e "s|^|releases/$1/|" >>"$work/left"
  rmdir "$releases/$1" 2>/dev/null || :
}
for each in $(ls "$metas"); do
  [ -d "$releases/$each" ] || continue
  words=$(empty_release "$each" 2>&1) || fail command_failed "The release $each in $home cannot be removed: $words"
done

left=$(json_lines 200 <"$work/left")
count=$(wc -l <"$work/left" | tr -d ' ')
words=$(rm -rf "$leaving" 2>&1 && mv "$home/.git" "$leaving" 2>&1) || fail command_failed "$home/.git cannot be removed: $words"
locked=false
unset GIT_DIR GIT_WORK_TREE
cd /
gone
if [ "$count" -eq 0 ]; then state=removed; else state=kept_files; fi
answer ",\"state\":\"$state\",\"left\":$left,\"leftCount\":$count"
`;
