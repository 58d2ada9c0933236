import { z } from 'zod';
import { AppError } from '../domain/errors.ts';
import { CLONE_LOCK_PRELUDE } from './clone-lock.ts';
import { checkBranch, checkCommit, checkLine, checkServerPath } from './operands.ts';
import { defineScript, type RemoteScript } from './script.ts';

/** Which switch is taken back. The commits are those of its answer. */
export interface RevertOptions {
  readonly path: string;
  readonly branch: string;
  readonly installationId: string;
  /** HEAD before the switch. */
  readonly from: string;
  /** HEAD after it. */
  readonly head: string;
  /** What the switch kept of changes made by hand, or null. */
  readonly localCommit: string | null;
  /** The commit of the gitrepo that the clone had before. */
  readonly deployed: string;
  readonly fence: number;
  readonly holder: string;
}

/** `reverted`: the clone is as it was before the switch; `unchanged`: it was so already. */
export const revertAnswerSchema = z.object({
  ok: z.literal(true),
  state: z.enum(['reverted', 'unchanged']),
  head: z.string(),
  /** Refs of what was changed since the switch, kept for people to look at. */
  kept: z.array(z.string()),
});

/**
 * Take a switch back, because what was to follow it on the server failed: files, branch and uncommitted changes are
 * as they were before it. What was changed in tracked files since is kept as `refs/muster/kept/<id>`. May be
 * repeated, also after a kill. Fails as `switch` does, and with `clone_damaged` if HEAD has moved since.
 */
export function revertScript(options: RevertOptions): RemoteScript {
  if (!Number.isSafeInteger(options.fence) || options.fence < 0) {
    throw new AppError('invalid_input', 'A fence is a whole number from 0 on.');
  }
  return defineScript({
    name: 'revert',
    text: TEXT,
    args: [
      checkServerPath(options.path),
      checkBranch(options.branch),
      checkLine('installation id', options.installationId),
      checkCommit(options.from),
      checkCommit(options.head),
      options.localCommit === null ? '' : checkCommit(options.localCommit),
      checkCommit(options.deployed),
      `${options.fence}`,
      checkLine('holder', options.holder),
    ],
  });
}

const TEXT = String.raw`${CLONE_LOCK_PRELUDE}
path=$1 branch=$2 installation=$3 from=$4 head=$5 before=$6 deployed=$7 fence=$8 holder=$9
[ -n "$before" ] || before=$from
enter_clone "$path" "$installation"
take_lock "$fence" "$holder"
pass_fence "$fence"
remove_stale_git_locks "$branch"

note=$GIT_DIR/muster-switch
recover >"$work/words" 2>&1 ||
  fail clone_damaged "What a broken-off deployment left at $path cannot be put right; make room or repair it by hand: $(cat "$work/words")"

# finish STATE
finish() {
  put=$(git rev-parse -q --verify refs/muster/head-before || echo "$deployed")
  git update-ref refs/muster/deployed "$deployed" && git update-ref refs/muster/head "$put" ||
    fail command_failed 'The deployed commit cannot be noted.'
  kept_json=$(printf '%s\n' "$kept" | sed '/^$/d' | json_lines 100)
  unlock
  answer ",\"state\":\"$1\",\"head\":\"$from\",\"kept\":$kept_json"
}

# The changes made by hand are uncommitted again, as they were: their commit leaves the branch, the files stay.
uncommit() {
  [ "$before" != "$from" ] || return 0
  words=$(git update-ref -m 'muster: revert' "refs/heads/$branch" "$from" "$before" 2>&1 && git read-tree "$from" 2>&1) ||
    fail clone_damaged "The local commit at $path cannot be undone: $words"
  git update-index -q --refresh >/dev/null 2>&1
}

now=$(git rev-parse -q --verify HEAD)
case $now in
  "$head") ;;
  "$from") finish unchanged ;;
  "$before")
    uncommit
    finish reverted
    ;;
  *) fail clone_damaged "HEAD at $path has moved since the switch, so it was left as it is; put it right by hand." ;;
esac

[ -z "$(differing "$head")" ] || keep_work_tree 'Found when a deployment was taken back'

# As in a switch: the note says how to end it or to undo it, whoever comes next.
echo "$head $before $branch $head" >"$work/note" && mv -f "$work/note" "$note" ||
  fail command_failed "$note cannot be written; check the disk." '{}' true
put_tree "$before" "$head" >"$work/words" 2>&1 &&
  git update-ref -m 'muster: revert' "refs/heads/$branch" "$before" "$head" >>"$work/words" 2>&1 || {
  words=$(cat "$work/words")
  recover >/dev/null 2>&1
  fail command_failed "The files at $path could not be put back as they were: $words" '{}' true
}
mv -f "$scratch_index" "$GIT_DIR/index" && rm -f "$note"
git update-index -q --refresh >/dev/null 2>&1
uncommit
finish reverted
`;
