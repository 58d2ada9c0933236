import { z } from 'zod';
import { gitPathSchema } from './git-path.ts';
import { LEAVE_CLONE_PRELUDE } from './leave-clone.ts';
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
 * Muster made it and nothing is left in it. Files that were changed or added on the server stay, and are told; what
 * deployments have kept of such files as commits is written to `.muster-kept/<commit>/` in it, and told likewise.
 * May be repeated, also after a kill. Fails with `path_occupied` for the clone of someone else, `path_busy`.
 */
export function deinitializeScript(options: DeinitializeOptions): RemoteScript {
  return defineScript({
    name: 'deinitialize',
    text: TEXT,
    args: [checkServerPath(options.path), checkLine('installation id', options.installationId)],
  });
}

const TEXT = `${LEAVE_CLONE_PRELUDE}
path=$1 home=$1 installation=$2
require_git
cd /

tidy() { [ "$made" != true ] || rmdir "$path" 2>/dev/null || :; }
require_ours

enter_clone "$path" "$installation"
take_lock "$(cat "$GIT_DIR/muster-fence" 2>/dev/null || echo 0)" deinitialize
if [ -f "$GIT_DIR/muster-switch" ]; then
  recover || fail clone_damaged "What a broken-off deployment left at $path cannot be put right; repair it by hand."
fi

delivered=$(git rev-parse -q --verify 'refs/muster/deployed^{tree}') ||
  delivered=$(git rev-parse -q --verify 'HEAD^{tree}') ||
  fail clone_damaged "The clone at $path does not know what was delivered; remove it by hand."
# Before anything goes: if there is no room for it, all stays as it is.
words=$(write_kept "$path/.muster-kept" 2>&1) ||
  fail command_failed "What was kept of changes made at $path cannot be written to $path/.muster-kept; make room, or remove its refs/muster/kept: $words"
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
on_index "$index" ls-files --others >"$work/left"
leave
`;
