import { z } from 'zod';
import { CLONE_LOCK_PRELUDE } from './clone-lock.ts';
import { gitPathSchema } from './git-path.ts';
import { checkLine, checkServerPath } from './operands.ts';
import { defineScript, type RemoteScript } from './script.ts';

/** Which clone is taken away. */
export interface DeinitializeOptions {
  readonly path: string;
  readonly installationId: string;
}

/** `removed`: nothing is left; `kept_files`: files that are not as Muster delivered them stay; `absent`: no clone was there. */
export const deinitializeAnswerSchema = z.object({
  ok: z.literal(true),
  state: z.enum(['removed', 'kept_files', 'absent']),
  /** At most 200 of the files that stay. */
  left: z.array(gitPathSchema),
  leftCount: z.number().int(),
});

/** The answer of `deinitialize`. */
export type DeinitializeAnswer = z.infer<typeof deinitializeAnswerSchema>;

/**
 * Remove every file that is as Muster delivered it, the folders that this empties, and `.git`; the folder itself if
 * Muster made it and nothing is left in it. Files that were changed or added on the server stay, and are told.
 * May be repeated, also after a kill. Fails with `path_occupied` for the clone of someone else, `path_busy`.
 */
export function deinitializeScript(options: DeinitializeOptions): RemoteScript {
  return defineScript({
    name: 'deinitialize',
    text: TEXT,
    args: [checkServerPath(options.path), checkLine('installation id', options.installationId)],
  });
}

const TEXT = String.raw`${CLONE_LOCK_PRELUDE}
path=$1 installation=$2
require_git
cd /

# The clone's .git on its way out: renamed first, so that a kill never leaves half a .git behind.
leaving=$path/.muster-removed
gone() {
  [ ! -f "$leaving/muster-made-path" ] || rmdir_after=true
  rm -rf "$leaving"
  [ "$rmdir_after" = false ] || rmdir "$path" 2>/dev/null || :
}
rmdir_after=false

if [ ! -e "$path/.git" ]; then
  if [ -d "$leaving" ] && [ "$(git config --file "$leaving/config" --get muster.installation 2>/dev/null)" = "$installation" ]; then
    gone
  fi
  answer ',"state":"absent","left":[],"leftCount":0'
fi
[ "$(clone_value "$path" muster.installation)" = "$installation" ] ||
  fail path_occupied "What is at $path is not a clone of this Muster; it was not touched."

enter_clone "$path" "$installation"
take_lock "$(cat "$GIT_DIR/muster-fence" 2>/dev/null || echo 0)" deinitialize
if [ -f "$GIT_DIR/muster-switch" ]; then
  recover || fail clone_damaged "What a broken-off deployment left at $path cannot be put right; repair it by hand."
fi

delivered=$(git rev-parse -q --verify 'refs/muster/deployed^{tree}') ||
  delivered=$(git rev-parse -q --verify 'HEAD^{tree}') ||
  fail clone_damaged "The clone at $path does not know what was delivered; remove it by hand."
index=$work/index
nothing=$(git hash-object -t tree -w /dev/null)
words=$(
  on_index "$index" read-tree "$delivered" 2>&1 &&
    { on_index "$index" update-index -q --refresh >/dev/null 2>&1 || :; } &&
    on_index "$index" diff-files --name-only -z >"$work/list" &&
    on_index "$index" update-index -z --force-remove --stdin <"$work/list" 2>&1 &&
    on_index "$index" read-tree -m -u "$nothing" 2>&1
) || fail command_failed "Files at $path cannot be removed: $words"

rm -f "$index"
left=$(on_index "$index" ls-files --others | json_lines 200)
count=$(on_index "$index" ls-files --others | wc -l | tr -d ' ')
[ "$(git config --get muster.madePath)" != true ] || { : >"$GIT_DIR/muster-made-path"; rmdir_after=true; }
words=$(rm -rf "$leaving" 2>&1 && mv "$path/.git" "$leaving" 2>&1) || fail command_failed "$path/.git cannot be removed: $words"
locked=false
unset GIT_DIR GIT_WORK_TREE
cd /
gone
if [ "$count" -eq 0 ]; then state=removed; else state=kept_files; fi
answer ",\"state\":\"$state\",\"left\":$left,\"leftCount\":$count"
`;
