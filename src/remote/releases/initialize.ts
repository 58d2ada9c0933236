import { posix } from 'node:path';
import type { InitializeOptions } from '../initialize.ts';
import { NEW_CLONE_PRELUDE } from '../new-clone.ts';
import { checkBranch, checkCommit, checkGitignore, checkLine } from '../operands.ts';
import { defineScript, type RemoteScript } from '../script.ts';
import { releaseOperands } from './layout.ts';
import { RELEASES_PRELUDE } from './prelude.ts';

/**
 * Make, from a full pack on standard input, what an atomic switch needs: a repository beside `path`, a first release in
 * it, and `path` as a symbolic link to that. May be repeated, also after a kill; a link that is gone is made again.
 * Answers as `initializeScript`.
 *
 * Fails with `path_parent_missing`, `path_occupied` (something is there, also an empty folder; nothing is touched),
 * `path_busy`, or `server_unsuitable` if that server cannot replace a link in one step.
 */
export function initializeReleasesScript(options: InitializeOptions): RemoteScript {
  return defineScript({
    name: 'initialize',
    text: TEXT,
    args: [
      ...releaseOperands(options.path),
      posix.dirname(options.path),
      checkBranch(options.branch),
      checkCommit(options.commit),
      checkLine('installation id', options.installationId),
      checkLine('gitrepo', options.gitrepo),
      ...checkGitignore(options.gitignore),
    ],
  });
}

const TEXT = String.raw`${NEW_CLONE_PRELUDE}${RELEASES_PRELUDE}
path=$1 home=$2 folder=$3 parent=$4 branch=$5 commit=$6 installation=$7 gitrepo=$8
shift 8
require_git
command -v readlink >/dev/null 2>&1 || fail server_unsuitable 'There is no readlink on this server; install coreutils or busybox.'
cd /

require_parent "$parent"

refuse_occupied() {
  fail path_occupied "$path exists and is not a link of this Muster, as an atomic switch needs it; move it away (mv $path $path.old), then initialize again."
}

work=$(mktemp -d) || fail command_failed 'There is no place for temporary files on this server; check its disk.'
stage=
clean_up() {
  rm -rf "$work"
  [ -z "$stage" ] || rm -rf "$stage"
}

if [ "$(clone_value "$home" muster.installation)" = "$installation" ]; then
  present=$(clone_value "$home" muster.gitrepo)
  [ "$present" = "$gitrepo" ] ||
    fail path_occupied "$path is already deployed from $present; choose another path or deinitialize that gitdeploy first."
  enter_releases "$installation"
  write_info "$GIT_DIR" "$@" || fail command_failed "The exclude list in $GIT_DIR cannot be written."
  head=$(git rev-parse -q --verify refs/muster/deployed) ||
    fail clone_damaged "What is in $home has no commit; deinitialize it and initialize it again."
  find_current
  [ "$foreign" = false ] || refuse_occupied
  if [ -z "$current" ]; then
    tree=$(git rev-parse "$head^{tree}")
    find_release "$tree" || make_release "$tree" "$head" || fail command_failed "The release cannot be made in $releases: $words"
    show "$release" && write_history "$release" || fail command_failed "The link $path cannot be made; check the permissions of $parent."
  fi
  rm -rf "$parent/$folder-init"
  answer ",\"state\":\"already\",\"head\":\"$head\""
fi

refuse_other_clone "$home" "$path with $home"
[ -L "$path" ] || refuse_other_clone "$path" "$path"
[ ! -e "$path" ] && [ ! -L "$path" ] || refuse_occupied
[ ! -e "$home" ] && [ ! -L "$home" ] ||
  fail path_occupied "$home is in the way; remove it or move it away, then initialize again."
refuse_other_stage "$home-init" "$path" "$installation"
rm -rf "$home-init"
words=$(mkdir "$home-init" 2>&1) || fail command_failed "Nothing can be made in $parent: $words"
stage=$home-init
sign_stage "$stage" "$installation" || fail command_failed "Nothing can be written in $parent; check its disk."

# Tried before anything is promised, with links to folders, as they will be.
can_replace_links() (
  mkdir "$stage/try" && cd "$stage/try" && mkdir a b && ln -s a old && ln -s b new &&
    rename_over new old && [ "$(readlink old)" = b ] && [ -z "$(ls a b | grep new)" ]
)
can_replace_links ||
  fail server_unsuitable "This server cannot replace a link to a folder in one step: its mv has neither -T nor -h, and there is no perl. Install one of them, or let this gitdeploy switch in place."

build() {
  make_repository "$stage/clone" "$branch" "$installation" "$gitrepo" &&
    write_info "$GIT_DIR" "$@" &&
    fill_repository "$branch" "$commit" &&
    releases=$stage/clone/releases && metas=$GIT_DIR/muster-releases &&
    mkdir "$releases" "$metas" || return 1
  make_release "$(git rev-parse "$commit^{tree}")" "$commit" || {
    echo "$words"
    return 1
  }
  echo "$release" >"$GIT_DIR/muster-history"
}

build "$@" >"$work/words" 2>&1 || fail command_failed "The repository could not be made: $(cat "$work/words")"
cd /
[ ! -e "$home" ] || fail path_occupied "$home was made by someone else meanwhile; nothing in it was touched."
words=$(mv "$stage/clone" "$home" 2>&1) || fail command_failed "The repository cannot be moved to $home: $words"
show "$release" || refuse_occupied
answer ",\"state\":\"created\",\"head\":\"$commit\""
`;
