import { z } from 'zod';
import { AppError } from '../../domain/errors.ts';
import { CLONE_LOCK_PRELUDE } from '../clone-lock.ts';
import { checkLine } from '../operands.ts';
import { defineScript, type RemoteScript } from '../script.ts';
import { checkFence, releaseOperands } from './layout.ts';
import { RELEASES_PRELUDE } from './prelude.ts';

/** How many releases stay. */
export interface PruneReleasesOptions {
  readonly path: string;
  readonly installationId: string;
  /** With the one that is shown; at least 2. */
  readonly keep: number;
  readonly fence: number;
  readonly holder: string;
}

export const pruneReleasesAnswerSchema = z.object({
  ok: z.literal(true),
  /** The releases that were removed. */
  removed: z.array(z.string()),
  /** Refs of commits with what was changed or added by hand in those. */
  kept: z.array(z.string()),
  /** Releases that stay because what was changed in them cannot be kept otherwise. */
  stuck: z.array(z.string()),
});

/**
 * Remove the releases that were shown longest ago, save the one that is shown, the one before,
 * and the last one that Muster showed. Files that were
 * changed or added in them, the gitdeploy's `gitignore` aside, are first kept as `refs/muster/kept/<commit>`.
 * May be repeated, also after a kill. Fails with `clone_missing`, `path_busy`, `fenced_off` or `command_failed`.
 */
export function pruneReleasesScript(options: PruneReleasesOptions): RemoteScript {
  if (!Number.isSafeInteger(options.keep) || options.keep < 2) {
    throw new AppError('invalid_input', 'At least 2 releases stay on a server.');
  }
  return defineScript({
    name: 'prune',
    text: TEXT,
    args: [
      ...releaseOperands(options.path),
      checkLine('installation id', options.installationId),
      `${options.keep}`,
      checkFence(options.fence),
      checkLine('holder', options.holder),
    ],
  });
}

const TEXT = String.raw`${CLONE_LOCK_PRELUDE}${RELEASES_PRELUDE}
path=$1 home=$2 folder=$3 installation=$4 keep=$5 fence=$6 holder=$7
enter_releases "$installation"
take_lock "$fence" "$holder"
pass_fence "$fence"
drop_half_made
find_current

# keep_changes NAME: its files as they are now, as a commit, if they are not all as they were delivered.
keep_changes() {
  name=$1
  read_line "$metas/$name/tree"
  delivered=$line
  read_line "$metas/$name/commit"
  copy_index "$name" &&
    on_release "$name" "$work/index" add -u &&
    on_release "$name" "$work/index" ls-files --others --exclude-from="$GIT_DIR/info/exclude" -z >"$work/list" &&
    on_release "$name" "$work/index" update-index -z --add --stdin <"$work/list" &&
    tree=$(on_release "$name" "$work/index" write-tree) || return 1
  [ "$tree" != "$delivered" ] || return 0
  saved=$(git commit-tree -p "$line" -m "What was changed by hand in the release $name" "$tree") &&
    remove_stale_lock "$GIT_DIR/refs/muster/kept/$saved.lock" &&
    git update-ref "refs/muster/kept/$saved" "$saved" || return 1
  kept="$kept
refs/muster/kept/$saved"
}

# Oldest first: what was never shown, then what was, in its order.
read_history
# The last two, also where the path was moved to another release by hand.
last_two=" $(printf '%s\n' $history | tail -n 2 | tr '\n' ' ') "
never_shown() {
  for name in $(ls "$metas"); do
    for other in $history; do [ "$other" != "$name" ] || continue 2; done
    echo "$name"
  done
}
surplus=$(($(ls "$metas" | wc -l) - keep))
removed= stuck=
for each in $(never_shown) $history; do
  [ "$surplus" -gt 0 ] || break
  case $last_two in *" $each "*) continue ;; esac
  [ "$each" != "$current" ] && [ -f "$metas/$each/tree" ] || continue
  if keep_changes "$each" >"$work/words" 2>&1 && drop_release "$each" >>"$work/words" 2>&1; then
    removed="$removed
$each"
  else
    stuck="$stuck
$each"
  fi
  surplus=$((surplus - 1))
done

list() { printf '%s\n' "$1" | sed '/^$/d' | json_lines 200; }
clean_up
answer ",\"removed\":$(list "$removed"),\"kept\":$(list "$kept"),\"stuck\":$(list "$stuck")"
`;
