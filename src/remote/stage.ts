import { z } from 'zod';
import { GIT_PRELUDE } from './git-prelude.ts';
import { checkBranch, checkCommit, checkLine, checkServerPath } from './operands.ts';
import { defineScript, type RemoteScript } from './script.ts';

/** Which commit is sent to which clone. */
export interface StageOptions {
  readonly path: string;
  readonly branch: string;
  readonly installationId: string;
  /** The commit that the pack brings. */
  readonly want: string;
  /** The commit that the pack adds to; null for a full pack. */
  readonly have: string | null;
  /**
   * Whether what comes is a tar of a pack and its index, instead of a pack that is thin against `have`. It costs the
   * server less work and the way more bytes. Default false.
   */
  readonly isIndexed?: boolean;
}

/**
 * `staged`: the pack was taken; `present`: the commit was there already; `need_full`: the clone has not got `have`;
 * `need_thin`: a pack with its index cannot be taken, as there is no tar, or as `have` is not what Muster has put there
 * last, so that the pack must be checked against what is there. But for `staged`, standard input was not read.
 */
export const stageAnswerSchema = z.object({
  ok: z.literal(true),
  state: z.enum(['staged', 'present', 'need_full', 'need_thin']),
});

/** The answer of `stage`. */
export type StageAnswer = z.infer<typeof stageAnswerSchema>;

/**
 * Take the pack on standard input into the clone and set the remote-tracking branch. Nothing changes in the work
 * tree. The pack is received in a quarantine, as by git-receive-pack, so that a broken transfer or a full disk leaves
 * nothing behind. What comes without an index is checked by the git that makes one; what comes with it is as Muster's
 * own git has made it, and is taken if all of it has arrived. Of many packs in the clone few are made. May be repeated.
 * Fails with `clone_missing`, or `command_failed` for a broken pack.
 */
export function stageScript(options: StageOptions): RemoteScript {
  return defineScript({
    name: 'stage',
    text: TEXT,
    args: [
      checkServerPath(options.path),
      checkBranch(options.branch),
      checkLine('installation id', options.installationId),
      checkCommit(options.want),
      options.have === null ? '' : checkCommit(options.have),
      options.isIndexed === true ? 'indexed' : 'thin',
    ],
  });
}

/** With so many packs in a clone they are folded into few. That is git's own limit, `gc.autoPackLimit`. */
const MAX_PACKS = 50;

const TEXT = String.raw`${GIT_PRELUDE}
path=$1 branch=$2 installation=$3 want=$4 have=$5 form=$6
enter_clone "$path" "$installation"

# What killed runs left: each is named for the process that made it.
for stale in "$GIT_DIR"/muster-incoming.*; do
  [ -d "$stale" ] || continue
  lives "$(cat "$stale/pid" 2>/dev/null || echo 0)" "$(cat "$stale/start" 2>/dev/null)" || rm -rf "$stale"
done

# A ref that Muster has set is of a commit that was whole, and takes no process to read.
# Who asks for a full pack has found that something is missing all the same.
if [ -n "$have" ] && is_ref "refs/remotes/origin/$branch" "$want"; then
  answer ',"state":"present"'
fi
if [ -z "$have" ] || ! is_ref refs/muster/deployed "$have"; then
  if has_commit "$want" && is_complete "$want"; then
    point_at "$want" "$branch"
    answer ',"state":"present"'
  fi
  if [ -n "$have" ] && ! has_commit "$have"; then
    answer ',"state":"need_full"'
  fi
fi

if [ "$form" = indexed ]; then
  command -v tar >/dev/null 2>&1 && { [ -z "$have" ] || is_ref refs/muster/deployed "$have"; } ||
    answer ',"state":"need_thin"'
fi

# Each deployment brings a pack, and every git looks into each. They are put together without another search for what
# objects have in common, which would take many seconds; with a git before 2.32 all of them become one. Nothing is let go;
# where it does not work, the packs stay as they are.
fold_packs() {
  set -- "$GIT_DIR"/objects/pack/*.pack
  [ $# -ge ${MAX_PACKS} ] || return 0
  git_works_here || rm -f "$GIT_DIR"/objects/pack/.tmp-*
  git -c pack.window=0 repack -q -n -d --geometric=2 || git -c pack.window=0 repack -q -n -a -d -k
}
fold_packs >/dev/null 2>&1

incoming=$GIT_DIR/muster-incoming.$$
clean_up() { rm -rf "$incoming"; }
words=$(mkdir -p "$incoming/pack" 2>&1) && identify_self &&
  echo $$ >"$incoming/pid" && echo "$identity" >"$incoming/start" ||
  fail command_failed "There is no place for the pack in $path/.git: $words"

not_whole() {
  fail command_failed "The pack did not arrive whole or does not fit on the disk: $(cat "$incoming/words")" '{}' true
}

# Without the owner that the archive names. Of two files the second one may be missing without a word from tar.
receive_indexed() {
  tar -xof - -C "$incoming/pack" >"$incoming/words" 2>&1 || not_whole
  set -- "$incoming"/pack/*.idx
  [ -f "$1" ] || {
    echo 'its index is missing' >"$incoming/words"
    not_whole
  }
}

# Of what is received, only what git has checked gets in.
receive_thin() {
  GIT_OBJECT_DIRECTORY=$incoming GIT_ALTERNATE_OBJECT_DIRECTORIES=$GIT_DIR/objects
  export GIT_OBJECT_DIRECTORY GIT_ALTERNATE_OBJECT_DIRECTORIES
  git index-pack --stdin --fix-thin --check-self-contained-and-connected >"$incoming/words" 2>&1
  case $? in
    # 1 is a pack that is whole and leads on to objects that are here.
    0 | 1) ;;
    *)
      words=$(cat "$incoming/words")
      case $words in
        *'did not receive expected object'* | *'Not all child objects'*)
          fail clone_damaged "Objects that commit $want needs are not in the clone; initialize it again. git says: $words" "{\"want\":\"$want\"}"
          ;;
      esac
      not_whole
      ;;
  esac
  unset GIT_OBJECT_DIRECTORY GIT_ALTERNATE_OBJECT_DIRECTORIES
}
"receive_$form"

# The index last: a pack without one is not seen.
set --
for file in "$incoming"/pack/*.pack "$incoming"/pack/*.rev "$incoming"/pack/*.idx; do
  [ ! -f "$file" ] || set -- "$@" "$file"
done
[ $# -eq 0 ] || mv -f "$@" "$GIT_DIR/objects/pack/" >"$incoming/words" 2>&1 ||
  fail command_failed "The pack cannot be kept: $(cat "$incoming/words")"
point_at "$want" "$branch"
answer ',"state":"staged"'
`;
