import { z } from 'zod';
import { AppError } from '../domain/errors.ts';
import { AWAIT_GO } from './await-go.ts';
import { CLONE_LOCK_PRELUDE } from './clone-lock.ts';
import { gitPathSchema } from './git-path.ts';
import {
  checkBranch,
  checkCommit,
  checkGitignore,
  checkLine,
  checkServerPath,
} from './operands.ts';
import { QUICK_SWITCH } from './quick-switch.ts';
import { defineScript, type RemoteScript } from './script.ts';

/** Which clone goes to which commit, and how local changes meet it. */
export interface SwitchOptions {
  readonly path: string;
  readonly branch: string;
  readonly installationId: string;
  /** A commit that `stage` has brought. */
  readonly target: string;
  /** Whose lines win where both changed the same: `ours` is the server, `theirs` the build. */
  readonly favor: 'ours' | 'theirs';
  readonly ignoreWhitespace: boolean;
  readonly gitignore: readonly string[];
  /** Grows with every deployment's lease of this (server, path). */
  readonly fence: number;
  /** Who holds the lock, for people: the deployment and its worker. */
  readonly holder: string;
  /**
   * Who switches: asked again for the same one, a switch that was made is answered as it was made, for whoever has to
   * take it back. Default nobody; then a second one is `unchanged`.
   */
  readonly step?: string;
  /**
   * Whether it waits before the first change, once all else is done, as `AWAIT_GO` tells. What changes nothing is answered
   * without. Default false.
   */
  readonly together?: boolean;
  /** What the target changes, if that is known: saves the server from finding it out. */
  readonly changes?: KnownChanges;
}

/** What the target of a switch changes against its parent. */
export interface KnownChanges {
  readonly parent: string;
  readonly changedFiles: number;
  /** Paths of the files that the parent has not got. */
  readonly added: readonly string[];
}

/** More names than this the server lists itself: commands must stay short. */
const MAX_ADDED_CHARACTERS = 8192;

/**
 * `switched`: the clone is exactly the target; `merged`: the target with local changes; `unchanged`: the target
 * was in it already, and nothing was touched.
 */
export const switchAnswerSchema = z.object({
  ok: z.literal(true),
  state: z.enum(['switched', 'merged', 'unchanged']),
  from: z.string(),
  head: z.string(),
  /** The commit that holds what was changed by hand, or null if nothing was. */
  localCommit: z.string().nullable(),
  /** How many files differ between `from` and `head`. */
  changedFiles: z.number().int(),
  /** Whether the files that are there now differ from the target's: local changes are among them. */
  modified: z.boolean().default(false),
  /** Refs of commits that are no longer part of the branch and were kept for people to look at. */
  kept: z.array(z.string()),
  /** Only of an atomic switch. */
  release: z
    .object({
      name: z.string(),
      /** The release that was shown before; the same one if the new commit has the same files, null if none was. */
      previous: z.string().nullable(),
      /** At most 200 files that were changed by hand in that one. They stay there, and are not in the new one. */
      modified: z.array(gitPathSchema),
      /** How many releases there are. */
      count: z.number().int(),
    })
    .optional(),
});

/** The answer of `switch`. */
export type SwitchAnswer = z.infer<typeof switchAnswerSchema>;

/**
 * Bring a clone to a commit and lose nothing that was changed on the server. May be repeated, also after a kill.
 *
 * The rule is: what is checked out now, with its uncommitted changes, is merged with the target, and the deployed
 * branch is where that ends up. So a clone whose HEAD was moved by hand, to an older commit or another branch, is
 * taken as it stands; commits of the deployed branch that are thereby left out are kept as `refs/muster/kept/<id>`.
 *
 * - Uncommitted changes to tracked files become a local commit. So does an untracked (even an ignored) file that
 *   the target would overwrite; all other untracked files stay as they are.
 * - The merge is computed aside. If it cannot be resolved, nothing in the clone has changed: `merge_failed`, with
 *   `details.files`.
 * - `refs/muster/head` says where HEAD was left: what is there later is by hand if it is another one.
 * - A merge that people left half-way is kept as it was under `refs/muster/kept/<id>` and then aborted.
 *
 * Fails with `clone_missing`, `clone_damaged`, `path_busy`, `fenced_off`, `merge_failed` or `command_failed`.
 */
export function switchScript(options: SwitchOptions): RemoteScript {
  if (!Number.isSafeInteger(options.fence) || options.fence < 0) {
    throw new AppError('invalid_input', 'A fence is a whole number from 0 on.');
  }
  return defineScript({
    name: 'switch',
    text: TEXT,
    args: [
      checkServerPath(options.path),
      checkBranch(options.branch),
      checkLine('installation id', options.installationId),
      checkCommit(options.target),
      options.favor,
      options.ignoreWhitespace ? 'true' : 'false',
      `${options.fence}`,
      checkLine('holder', options.holder),
      checkLine('step', options.step ?? '-'),
      `${options.together ?? false}`,
      ...changesOperands(options.changes),
      ...checkGitignore(options.gitignore),
    ],
  });
}

function changesOperands(changes: KnownChanges | undefined): string[] {
  const unknown = ['', '0', ''];
  if (changes === undefined) return unknown;
  const added = changes.added.join('\n');
  const isListable = changes.added.every((path) => /^\P{Cc}+$/u.test(path));
  if (!isListable || added.length > MAX_ADDED_CHARACTERS) return unknown;
  return [checkCommit(changes.parent), `${changes.changedFiles}`, added];
}

const TEXT = String.raw`${CLONE_LOCK_PRELUDE}${AWAIT_GO}
path=$1 branch=$2 installation=$3 target=$4 favor=$5 ignore_whitespace=$6 fence=$7 holder=$8 step=$9
shift 9
together=$1 known_parent=$2 known_changes=$3 known_added=$4
shift 4
enter_clone "$path" "$installation"
take_lock "$fence" "$holder"
check_fence "$fence"
remove_stale_git_locks "$branch"

note=$GIT_DIR/muster-switch
told=$GIT_DIR/muster-switched
next=$work/next
# undo WORDS: what the note says, or else the end, with the words of what failed
undo() {
  recover >/dev/null 2>&1 ||
    fail clone_damaged "The deployment failed and $path could not be put back yet; the next one tries again. $1"
}

# names_refused: the names that git's refusals in work/words give, in both of their forms.
names_refused() {
  sed -n -e "s/^error: Untracked working tree file '\(.*\)' would be .*/\1/p" \
    -e "s/^error: Updating '\(.*\)' would lose .*/\1/p" -e "s/^error: Entry '\(.*\)' .*/\1/p" \
    -e 's/^	\(.*\)/\1/p' "$work/words"
}

# refuses_to_begin: whether git has, as something was changed here in this very moment: then it has touched nothing.
refuses_to_begin() { [ -n "$(names_refused)" ] && rm -f "$note"; }
${QUICK_SWITCH}
quick_switch "$@"
pass_fence "$fence"

if [ -f "$note" ]; then
  recover >"$work/words" 2>&1 ||
    fail clone_damaged "What a broken-off deployment left at $path cannot be put right; make room or repair it by hand: $(cat "$work/words")"
fi

from=$(git rev-parse -q --verify 'HEAD^{commit}') ||
  fail clone_damaged "The clone at $path has no commit checked out; check out a branch there or initialize it again."
has_commit "$target" ||
  fail clone_damaged "Commit $target is not in the clone; it must be staged before the switch." "{\"target\":\"$target\"}" true
write_info "$GIT_DIR" "$@" || fail command_failed "The exclude list in $path/.git cannot be written; check the disk."

if [ -f "$GIT_DIR/MERGE_HEAD" ] || [ -n "$(git ls-files -u | sed 1q)" ]; then
  keep_work_tree 'A merge that was not finished, as it stood'
  words=$(git reset -q --merge 2>&1 || git reset -q --hard HEAD 2>&1) ||
    fail clone_damaged "A merge that was begun by hand at $path cannot be undone: $words"
  rm -f "$GIT_DIR/MERGE_HEAD" "$GIT_DIR/MERGE_MSG" "$GIT_DIR/MERGE_MODE" "$GIT_DIR/AUTO_MERGE"
fi

tip=$(git rev-parse -q --verify "refs/heads/$branch") || tip=none
on_branch=false
[ "$(git symbolic-ref -q HEAD)" != "refs/heads/$branch" ] || on_branch=true
# What Muster put here itself is no change made here, even where the target does not come after it: then commits that
# this server has were lost elsewhere, as when a backup is restored. They stay as refs/muster/kept.
is_ours=false
[ "$(git rev-parse -q --verify refs/muster/deployed)" != "$from" ] || is_ours=true
contains_target=false
if [ "$from" = "$target" ]; then
  contains_target=true
elif [ "$is_ours" = false ] && git merge-base --is-ancestor "$target" "$from"; then
  contains_target=true
fi

again=false
# finish STATE RESULT LOCAL
finish() {
  put=$(git rev-parse -q --verify refs/muster/head || git rev-parse -q --verify refs/muster/deployed)
  # Not again by a run that finds all done already: what was before is then what the run before found.
  [ "$1" = unchanged ] || [ -z "$put" ] || [ "$again $put" = "true $2" ] || git update-ref refs/muster/head-before "$put" 2>&1 ||
    fail command_failed 'The commit that was here cannot be noted.'
  git update-ref refs/muster/deployed "$target" 2>&1 && git update-ref refs/muster/head "$2" 2>&1 ||
    fail command_failed 'The deployed commit cannot be noted.'
  modified=true
  cp -p "$GIT_DIR/index" "$work/found-index" 2>/dev/null
  on_index "$work/found-index" update-index -q --refresh >/dev/null 2>&1
  [ "$(git rev-parse "$2^{tree}")" != "$(git rev-parse "$target^{tree}")" ] ||
    ! on_index "$work/found-index" diff-index --quiet "$2" -- 2>/dev/null || modified=false
  if [ -z "$(clone_value "$path" "branch.$branch.remote")" ]; then
    git config "branch.$branch.remote" origin && git config "branch.$branch.merge" "refs/heads/$branch"
  fi
  changed=$(git diff-tree -r --name-only "$from" "$2" | count_lines)
  local_json=null
  [ "$3" = "$from" ] || local_json="\"$3\""
  kept_json=$(printf '%s\n' "$kept" | sed '/^$/d' | json_lines 100)
  # Unlocked before the answer, so that whoever hears it finds the clone free.
  clean_up
  answer ",\"state\":\"$1\",\"from\":\"$from\",\"head\":\"$2\",\"localCommit\":$local_json,\"changedFiles\":$changed,\"modified\":$modified,\"kept\":$kept_json"
}

# refuse: a merge that cannot be resolved, told in work/words and work/files; nothing in the clone has been changed.
refuse() {
  files=$(json_lines 200 <"$work/files")
  fail merge_failed "The changes on this server cannot be merged with the build; resolve them at $path or remove them there. git says: $(cat "$work/words")" \
    "{\"files\":$files}"
}

# What this very step has brought before whoever asked for it could hear of it. The note is written before the branch
# moves, and is true only if it has moved.
if [ "$step" != - ] && [ -f "$told" ]; then
  IFS=' ' read -r told_step told_from told_result told_local <"$told"
  if [ "$told_step" = "$step" ] && [ "$told_result" = "$from" ] && [ "$on_branch" = true ]; then
    from=$told_from again=true
    if [ "$told_result" = "$target" ]; then state=switched; else state=merged; fi
    finish "$state" "$told_result" "$told_local"
  fi
fi

if [ "$contains_target" = true ] && [ "$on_branch" = true ]; then
  finish unchanged "$from" "$from"
fi

# The index as it would be if everything that was changed here were added: "next". The real one is not touched.
# The copy keeps its time: git takes a file that is no older than the index for one that may have changed since.
cp -p "$GIT_DIR/index" "$next" 2>/dev/null || on_index "$next" read-tree --empty
local=$from

# add_changes: into "next" all changes to tracked files, and all untracked files that the target would overwrite.
# Those are found with an index of what only the target has ("adds"): of its files, the ones that are here at all.
# Lists go through files, so that the failure of the command that makes one is seen.
add_changes() {
  adds=$work/adds list=$work/list
  on_index "$next" add -u &&
    on_index "$adds" read-tree "$target" &&
    on_index "$next" ls-files -z >"$list" &&
    on_index "$adds" update-index -z --force-remove --stdin <"$list" &&
    on_index "$adds" diff-files --name-only -z --diff-filter=D >"$list" &&
    on_index "$adds" update-index -z --force-remove --stdin <"$list" || return 1
  on_index "$adds" update-index -q --refresh >/dev/null
  on_index "$adds" diff-files --name-only -z >"$list" &&
    on_index "$next" update-index -z --add --stdin <"$list" &&
    on_index "$next" write-tree >"$work/tree" &&
    # The ones that are as the target has them are no change, but git must know of them to leave them alone.
    on_index "$adds" ls-files -z >"$list" &&
    on_index "$next" update-index -z --add --stdin <"$list"
}

if [ "$contains_target" = false ]; then
  add_changes >"$work/words" 2>&1 ||
    fail command_failed "The changes on this server cannot be read: $(cat "$work/words")"
  tree=$(cat "$work/tree")
  if [ "$tree" != "$(git rev-parse "$from^{tree}")" ]; then
    local=$(git commit-tree -p "$from" -m "Keep what was changed on $(uname -n) before a deployment" "$tree") ||
      fail command_failed 'The changes on this server cannot be committed.'
  fi
fi

if [ "$contains_target" = true ]; then
  result=$from
elif [ "$local" = "$from" ] && { [ "$is_ours" = true ] || git merge-base --is-ancestor "$from" "$target"; }; then
  result=$target
else
  # In a repository of its own whose work tree holds no files: git writes only those that the merge makes.
  merge_aside() (
    aside=$work/aside
    unset GIT_WORK_TREE
    GIT_OBJECT_DIRECTORY=$GIT_DIR/objects GIT_DIR=$aside/git
    export GIT_OBJECT_DIRECTORY
    mkdir -p "$aside/tree" && git init -q --template= --bare && git config core.bare false || exit 1
    GIT_WORK_TREE=$aside/tree
    export GIT_WORK_TREE
    cd "$aside/tree" && write_info "$GIT_DIR" &&
      git update-ref --no-deref HEAD "$local" && git read-tree "$local" || exit 1
    set -- -X "$favor"
    [ "$ignore_whitespace" = false ] || set -- "$@" -X ignore-all-space
    if ! git merge -q --no-edit --no-stat --no-log -m "Merge commit $target with what was changed on $(uname -n)" \
      "$@" "$target" >"$work/words" 2>&1; then
      { git diff --name-only --diff-filter=U && names_refused; } | sort -u >"$work/files"
      exit 2
    fi
    git rev-parse -q --verify HEAD >"$work/result"
  )
  words=$(merge_aside 2>&1)
  case $? in
    0) result=$(cat "$work/result") ;;
    2) refuse ;;
    *) fail command_failed "The merge could not be tried: $words" '{}' true ;;
  esac
fi

# Tried before the first file is touched: a folder in the place of a file and the like is found out by this.
if [ "$local" != "$result" ] && ! on_index "$next" read-tree -n -m -u "$local" "$result" >"$work/words" 2>&1; then
  names_refused >"$work/files"
  refuse
fi

await_go
if [ "$step" != - ] && [ "$from" != "$result" ]; then
  echo "$step $from $result $local" >"$work/told" && mv -f "$work/told" "$told" ||
    fail command_failed "$told cannot be written; check the disk." '{}' true
fi

# From here on files change. The note says how to end it or to undo it, whoever comes next.
echo "$local $result $branch $tip" >"$work/note" && mv -f "$work/note" "$note" ||
  fail command_failed "$note cannot be written; check the disk." '{}' true
if [ "$local" != "$result" ] && ! on_index "$next" read-tree -m -u "$local" "$result" >"$work/words" 2>&1; then
  words=$(cat "$work/words")
  ! refuses_to_begin ||
    fail command_failed "At $path files were changed in the moment of the switch; nothing was done: $words" '{}' true
  undo "$words"
  fail command_failed "The files at $path could not be written and were put back: $words" '{}' true
fi

old=$tip
[ "$old" != none ] || old=0000000000000000000000000000000000000000
words=$(
  git update-ref -m 'muster: deploy' "refs/heads/$branch" "$result" "$old" 2>&1 &&
    { [ "$on_branch" = true ] || git symbolic-ref -m 'muster: deploy' HEAD "refs/heads/$branch" 2>&1; }
) || {
  undo "$words"
  fail command_failed "The branch $branch could not be moved, and the files were put back: $words"
}
mv -f "$next" "$GIT_DIR/index" && rm -f "$note"
[ "$tip" = none ] || git merge-base --is-ancestor "$tip" "$result" || keep "$tip" >/dev/null

[ "$(git symbolic-ref -q HEAD)" = "refs/heads/$branch" ] && git merge-base --is-ancestor "$target" HEAD &&
  [ -z "$(git ls-files -u | sed 1q)" ] ||
  fail clone_damaged "After the switch the clone at $path is not what it should be; somebody works in it."
git update-index -q --refresh >/dev/null 2>&1
if [ "$result" = "$target" ]; then state=switched; else state=merged; fi
finish "$state" "$result" "$local"
`;
