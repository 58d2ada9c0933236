import { CLONE_LOCK_PRELUDE } from '../clone-lock.ts';
import { checkBranch, checkCommit, checkLine } from '../operands.ts';
import type { RevertOptions } from '../revert.ts';
import { defineScript, type RemoteScript } from '../script.ts';
import { checkFence, checkRelease, releaseOperands } from './layout.ts';
import { RELEASES_PRELUDE } from './prelude.ts';

/** Which switch is taken back. */
export interface RevertReleaseOptions
  extends Pick<
    RevertOptions,
    'path' | 'branch' | 'installationId' | 'from' | 'head' | 'deployed' | 'fence' | 'holder'
  > {
  /** The release that was shown before it; null if none was. */
  readonly previous: string | null;
}

/**
 * Show again, by one rename, the release that was shown before a switch, with all that was changed in it by hand.
 * May be repeated, also after a kill. Answers as `revertScript`; nothing need be kept, as nothing goes.
 * Fails as `switchReleaseScript` does, and with `clone_damaged` if the link has been moved since.
 */
export function revertReleaseScript(options: RevertReleaseOptions): RemoteScript {
  return defineScript({
    name: 'revert',
    text: TEXT,
    args: [
      ...releaseOperands(options.path),
      checkBranch(options.branch),
      checkLine('installation id', options.installationId),
      checkCommit(options.head),
      checkCommit(options.deployed),
      checkFence(options.fence),
      checkLine('holder', options.holder),
      checkCommit(options.from),
      options.previous === null ? '' : checkRelease(options.previous),
    ],
  });
}

const TEXT = String.raw`${CLONE_LOCK_PRELUDE}${RELEASES_PRELUDE}
path=$1 home=$2 folder=$3 branch=$4 installation=$5 head=$6 deployed=$7 fence=$8 holder=$9
shift 9
from=$1 previous=$2
enter_releases "$installation"
take_lock "$fence" "$holder"
pass_fence "$fence"
remove_stale_git_locks "$branch"

find_current
if [ -z "$previous" ] || [ ! -f "$metas/$previous/tree" ]; then
  find_release "$(git rev-parse -q --verify "$deployed^{tree}")" ||
    fail clone_damaged "The release that was at $path before the switch is gone, so the new one was left there."
  previous=$release
fi
rm -f "$GIT_DIR/muster-switched"
state=unchanged words=
if [ "$foreign" = true ] || [ "$current" != "$previous" ]; then
  shown=
  if [ -n "$current" ]; then
    read_line "$metas/$current/tree"
    shown=$line
  fi
  [ "$foreign" = false ] && [ "$shown" = "$(git rev-parse -q --verify "$head^{tree}")" ] ||
    fail clone_damaged "$path has been moved since the switch, so it was left as it is; put it right by hand."
  show "$previous" || fail command_failed "The link $path cannot be replaced; check the permissions of its folder." '{}' true
  state=reverted
fi
[ "$(git rev-parse -q --verify refs/muster/deployed)" = "$deployed" ] || state=reverted
note_commit "$previous" "$from" &&
  words=$(note_shown "$deployed" "$branch" 2>&1) && write_history "$previous" ||
  fail command_failed "The deployed commit cannot be noted: $words" '{}' true
clean_up
answer ",\"state\":\"$state\",\"head\":\"$from\",\"kept\":[]"
`;
