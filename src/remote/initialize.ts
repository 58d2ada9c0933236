import { posix } from 'node:path';
import { z } from 'zod';
import { NEW_CLONE_PRELUDE } from './new-clone.ts';
import {
  checkBranch,
  checkCommit,
  checkGitignore,
  checkLine,
  checkServerPath,
} from './operands.ts';
import { defineScript, type RemoteScript } from './script.ts';

/** What `initialize` makes a clone of, and where. */
export interface InitializeOptions {
  /** Absolute; its parent must exist on the server. */
  readonly path: string;
  readonly branch: string;
  readonly commit: string;
  /** Tells the clones of one Muster from those of another. */
  readonly installationId: string;
  /** Where the clone comes from, for people: `application/gitrepo`. */
  readonly gitrepo: string;
  readonly gitignore: readonly string[];
}

/** `created`: the clone was made; `already`: it was there, and only its exclude list was written anew. */
export const initializeAnswerSchema = z.object({
  ok: z.literal(true),
  state: z.enum(['created', 'already']),
  head: z.string(),
});

/** The answer of `initialize`. */
export type InitializeAnswer = z.infer<typeof initializeAnswerSchema>;

/**
 * Make a clone from a full pack on standard input, checked out at the branch. May be repeated.
 * The clone is built aside and moved into place, so that a failure leaves nothing and a kill leaves one folder
 * that the next run takes away. An existing empty folder is used as it is, with its owner and mode.
 *
 * Fails with `path_parent_missing`, `path_occupied` (nothing is touched) or `path_busy` (another run is at it).
 */
export function initializeScript(options: InitializeOptions): RemoteScript {
  const path = checkServerPath(options.path);
  return defineScript({
    name: 'initialize',
    text: TEXT,
    args: [
      path,
      posix.dirname(path),
      posix.basename(path),
      checkBranch(options.branch),
      checkCommit(options.commit),
      checkLine('installation id', options.installationId),
      checkLine('gitrepo', options.gitrepo),
      ...checkGitignore(options.gitignore),
    ],
  });
}

const TEXT = String.raw`${NEW_CLONE_PRELUDE}
path=$1 parent=$2 name=$3 branch=$4 commit=$5 installation=$6 gitrepo=$7
shift 7
require_git
cd /

require_parent "$parent"

if [ "$(clone_value "$path" muster.installation)" = "$installation" ]; then
  present=$(clone_value "$path" muster.gitrepo)
  [ "$present" = "$gitrepo" ] ||
    fail path_occupied "$path is already the clone of $present; choose another path or deinitialize that gitdeploy first."
  write_info "$path/.git" "$@" || fail command_failed "The exclude list in $path/.git cannot be written."
  head=$(GIT_DIR=$path/.git; export GIT_DIR; git rev-parse -q --verify HEAD) ||
    fail clone_damaged "The clone at $path has no commit; deinitialize it and initialize it again."
  answer ",\"state\":\"already\",\"head\":\"$head\""
fi

refuse_other_clone "$path" "$path"
[ ! -L "$path" ] || refuse_other_clone "$parent/.$name.muster" "$path, a link into $parent/.$name.muster,"

# Where it is built: beside a path that is to be made, inside a folder that is there and may be a mount point.
if [ -d "$path" ]; then
  made=false stage=$path/.muster-init
elif [ -e "$path" ] || [ -L "$path" ]; then
  fail path_occupied "$path exists and is not a folder; remove it or choose another path."
else
  made=true stage=$parent/.$name.muster-init
fi

# "ready" in it means that the clone was complete and on its move when the earlier run was killed.
refuse_other_stage "$stage" "$path" "$installation"
resumed=false
[ ! -f "$stage/ready" ] || resumed=true
if [ "$resumed" = false ]; then
  rm -rf "$stage"
  if [ "$made" = false ] && [ -n "$(ls -A "$path")" ]; then
    fail path_occupied "$path is not empty and not a clone of Muster; empty it or choose another path."
  fi
  words=$(mkdir "$stage" 2>&1) || fail command_failed "The clone cannot be made in $parent: $words"
fi

finished=false
clean_up() { [ "$finished" = true ] || [ -f "$stage/ready" ] || rm -rf "$stage"; }

build() {
  sign_stage "$stage" "$installation" &&
    make_repository "$stage/clone" "$branch" "$installation" "$gitrepo" &&
    git config muster.madePath "$made" &&
    write_info "$GIT_DIR" "$@" &&
    fill_repository "$branch" "$commit" &&
    git reset -q --hard "$commit"
}

if [ "$resumed" = false ]; then
  build "$@" >"$stage/words" 2>&1 || fail command_failed "The clone could not be made: $(cat "$stage/words")"
fi
cd /

move_entry() {
  [ -e "$1" ] || [ -L "$1" ] || return 0
  if [ -e "$path/$1" ] || [ -L "$path/$1" ]; then
    fail path_occupied "$path/$1 was made by someone else meanwhile; move it away, then initialize again."
  fi
  words=$(mv -- "$1" "$path/" 2>&1) || fail command_failed "The clone cannot be moved to $path: $words"
}

if [ "$made" = true ]; then
  [ ! -e "$path" ] || fail path_occupied "$path was made by someone else meanwhile; nothing in it was touched."
  words=$(mv "$stage/clone" "$path" 2>&1) || fail command_failed "The clone cannot be moved to $path: $words"
else
  # One entry after the other, .git last: until then the folder is no clone, and "ready" says how to go on.
  : >"$stage/ready"
  cd "$stage/clone"
  for entry in * .[!.]* ..?*; do
    [ "$entry" = .git ] || move_entry "$entry"
  done
  move_entry .git
fi
cd /
rm -rf "$stage"
finished=true
GIT_DIR=$path/.git GIT_WORK_TREE=$path
export GIT_DIR GIT_WORK_TREE
cd "$path" && git update-index -q --refresh
answer ",\"state\":\"created\",\"head\":\"$(git rev-parse HEAD)\""
`;
