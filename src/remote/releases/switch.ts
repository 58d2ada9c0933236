import { AWAIT_GO } from '../await-go.ts';
import { CLONE_LOCK_PRELUDE } from '../clone-lock.ts';
import { checkBranch, checkCommit, checkLine } from '../operands.ts';
import { defineScript, type RemoteScript } from '../script.ts';
import type { SwitchOptions } from '../switch.ts';
import { checkFence, releaseOperands } from './layout.ts';
import { RELEASES_PRELUDE } from './prelude.ts';

/** Which release is to be shown: that of a commit that `prepareReleaseScript` has made ready. */
export type SwitchReleaseOptions = Pick<
  SwitchOptions,
  'path' | 'branch' | 'installationId' | 'target' | 'fence' | 'holder' | 'step' | 'together'
>;

/**
 * Show the release of a commit, by one rename of the link at `path`. The release is complete and as it was delivered;
 * what was changed by hand in the one before stays in its folder and is told. May be repeated, also after a kill.
 *
 * Answers as `switchScript`, with `release`; `merged` does not occur. Fails with `clone_missing`, `path_busy`,
 * `fenced_off`, `path_occupied` if something else has taken the link's place, `clone_damaged` (retryable) if the
 * release is not there, or `command_failed`.
 */
export function switchReleaseScript(options: SwitchReleaseOptions): RemoteScript {
  return defineScript({
    name: 'switch',
    text: TEXT,
    args: [
      ...releaseOperands(options.path),
      checkBranch(options.branch),
      checkLine('installation id', options.installationId),
      checkCommit(options.target),
      checkFence(options.fence),
      checkLine('holder', options.holder),
      checkLine('step', options.step ?? '-'),
      `${options.together ?? false}`,
    ],
  });
}

const TEXT = String.raw`${CLONE_LOCK_PRELUDE}${AWAIT_GO}${RELEASES_PRELUDE}
path=$1 home=$2 folder=$3 branch=$4 installation=$5 target=$6 fence=$7 holder=$8 step=$9
shift 9
together=$1
enter_releases "$installation"
take_lock "$fence" "$holder"
pass_fence "$fence"
remove_stale_git_locks "$branch"

find_current
[ "$foreign" = false ] ||
  fail path_occupied "$path is no longer the link that Muster made; move what is there away (mv $path $path.old), then deploy again."
tree=$(git rev-parse -q --verify "$target^{tree}") && find_release "$tree" ||
  fail clone_damaged "No release of commit $target is ready in $home; it must be made before the switch." "{\"target\":\"$target\"}" true

# The one before: what the path shows, or, where a run was killed after the rename, what it showed until then.
previous=$current
read_history
if [ -z "$previous" ] || [ "$previous" = "$release" ]; then
  previous=$last
fi
[ -f "$metas/$previous/tree" ] || previous=
deployed=$(git rev-parse -q --verify refs/muster/deployed) || deployed=$target
from=$deployed
if [ -n "$previous" ] && [ "$previous" != "$release" ]; then
  read_line "$metas/$previous/commit"
  [ -z "$line" ] || from=$line
fi

# What this very step has shown already, before whoever asked for it could hear of it: the same is told again.
told=$GIT_DIR/muster-switched
if [ "$step" != - ] && [ "$current" = "$release" ] && [ -f "$told" ]; then
  IFS=' ' read -r told_step told_release told_previous told_from <"$told"
  if [ "$told_step" = "$step" ] && [ "$told_release" = "$release" ]; then
    previous=$told_previous from=$told_from last=
    [ "$previous" != - ] || previous=
  fi
fi

state=switched words=
if [ "$current" = "$release" ] && [ "$last" = "$release" ] && [ "$deployed" = "$target" ]; then
  state=unchanged
else
  noted=$previous
  [ -n "$noted" ] || noted=-
  await_go
  echo "$step $release $noted $from" >"$work/told" && mv -f "$work/told" "$told" ||
    fail command_failed "$told cannot be written; check the disk." '{}' true
  [ "$current" = "$release" ] || show "$release" ||
    fail command_failed "The link $path cannot be replaced; check the permissions of its folder." '{}' true
  # The history last: until it is written, the next run knows what was shown before.
  note_commit "$release" "$target" &&
    words=$(note_shown "$target" "$branch" 2>&1) && write_history "$previous" "$release" ||
    fail command_failed "The deployed commit cannot be noted: $words" '{}' true
fi

modified='[]' previous_json=null
if [ -n "$previous" ]; then
  previous_json="\"$previous\""
  [ "$previous" = "$release" ] || is_intact "$previous" ||
    modified=$(on_release "$previous" "$work/index" diff-files --name-only 2>/dev/null | json_lines 200)
fi
changed=$(git diff-tree -r --name-only "$from" "$target" | count_lines)
set -- $names
clean_up
answer ",\"state\":\"$state\",\"from\":\"$from\",\"head\":\"$target\",\"localCommit\":null,\"changedFiles\":$changed,\"kept\":[],\"release\":{\"name\":\"$release\",\"previous\":$previous_json,\"modified\":$modified,\"count\":$#}"
`;
