import { z } from 'zod';
import { GIT_PRELUDE } from '../git-prelude.ts';
import { checkBranch, checkCommit, checkGitignore, checkLine } from '../operands.ts';
import { defineScript, type RemoteScript } from '../script.ts';
import { releaseOperands } from './layout.ts';
import { RELEASES_PRELUDE } from './prelude.ts';

/** Which release is to be there before the switch. */
export interface PrepareReleaseOptions {
  readonly path: string;
  readonly branch: string;
  readonly installationId: string;
  /** The commit that the switch will bring. */
  readonly want: string;
  /** That commit as git stores it. If its files are there, as in a rollback, nothing else need be sent. */
  readonly content: string;
  readonly gitignore: readonly string[];
}

/** `made`: it was checked out; `ready`: it was there; `need_objects`: `stage` must bring the commit first. */
export const prepareReleaseAnswerSchema = z.object({
  ok: z.literal(true),
  state: z.enum(['made', 'ready', 'need_objects']),
});

/**
 * Check out the release of a commit beside the one that is shown, which is not touched. One that is there and was not
 * changed by hand is used again. May be repeated, also after a kill.
 * Fails with `clone_missing`, or `command_failed` if there is no room for it.
 */
export function prepareReleaseScript(options: PrepareReleaseOptions): RemoteScript {
  return defineScript({
    name: 'prepare',
    text: TEXT,
    args: [
      ...releaseOperands(options.path),
      checkBranch(options.branch),
      checkLine('installation id', options.installationId),
      checkCommit(options.want),
      options.content,
      ...checkGitignore(options.gitignore),
    ],
  });
}

const TEXT = `${GIT_PRELUDE}${RELEASES_PRELUDE}
path=$1 home=$2 folder=$3 branch=$4 installation=$5 want=$6 content=$7
shift 7
enter_releases "$installation"

# Not under the lock, as stage: it adds and takes nothing away that anyone else may need.
work=$(mktemp -d) || fail command_failed 'There is no place for temporary files on this server; check its disk.'
clean_up() { rm -rf "$work"; }
write_info "$GIT_DIR" "$@" || fail command_failed "The exclude list in $GIT_DIR cannot be written; check the disk."
drop_half_made

# take_content: the commit itself, if all that it needs is here.
take_content() {
  read -r word tree <<CONTENT
$content
CONTENT
  [ "$word" = tree ] && git cat-file -e "$tree" 2>/dev/null || return 1
  [ "$(printf '%s' "$content" | git hash-object -t commit -w --stdin 2>/dev/null)" = "$want" ] && is_complete "$want"
}

{ has_commit "$want" && is_complete "$want"; } || take_content || answer ',"state":"need_objects"'
point_at "$want" "$branch"

tree=$(git rev-parse "$want^{tree}")
find_current
! find_release "$tree" || answer ',"state":"ready"'
make_release "$tree" "$want" || fail command_failed "The release cannot be made in $releases: $words" '{}' true
answer ',"state":"made"'
`;
