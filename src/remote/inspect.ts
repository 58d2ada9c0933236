import { z } from 'zod';
import { LOOK_PRELUDE } from './look-prelude.ts';
import { checkBranch, checkServerPath } from './operands.ts';
import { defineScript, type RemoteScript } from './script.ts';

const seenCloneSchema = z.object({
  /** `clone`: of any Muster, see `installation`; `occupied`: something else is there. */
  state: z.enum(['absent', 'empty', 'clone', 'occupied']),
  installation: z.string().nullable(),
  head: z.string().nullable(),
  /** Null while HEAD is detached. */
  branch: z.string().nullable(),
  /** The commit that Muster switched to last. */
  deployed: z.string().nullable(),
  /** HEAD as Muster left it: that commit, or the one in which it was merged with local changes. */
  left: z.string().nullable(),
  /** The newest commit of the gitrepo that is part of HEAD, local commits aside. */
  base: z.string().nullable(),
  /** Whether tracked files differ from HEAD, or HEAD's files from those of the commit that Muster switched to last. */
  modified: z.boolean().nullable(),
  /** How many commits, merges aside, were made on the server. */
  localCommits: z.number().int().nullable(),
});

/** What a server says of itself and of some paths on it. */
export const inspectAnswerSchema = z.object({
  ok: z.literal(true),
  hostname: z.string(),
  /** From /etc/os-release; empty strings where there is none. */
  os: z.object({ id: z.string(), version: z.string(), name: z.string() }),
  /** Such as `2.39.5`, or null if git is not installed. */
  gitVersion: z.string().nullable(),
  /** Free for the connection's user on the file system of the root. */
  freeDiskBytes: z.number().int().nullable(),
  /** In the order in which they were asked for. */
  clones: z.array(seenCloneSchema),
});

/** The answer of `inspect`. */
export type InspectAnswer = z.infer<typeof inspectAnswerSchema>;

/** What is looked at. */
export interface InspectOptions {
  /** What `/` of the server is called for scripts. */
  readonly root: string;
  /** Where clones should be, at most `MAX_INSPECTED`, and the branch that each should be on. */
  readonly clones: readonly { readonly path: string; readonly branch: string }[];
}

/** As many paths as fit into one command even if each is as long as it may be. */
export const MAX_INSPECTED = 20;

/** Look at a server and at some paths on it. Changes nothing. Works without git, which it then reports. */
export function inspectScript({ root, clones }: InspectOptions): RemoteScript {
  return defineScript({
    name: 'inspect',
    text: TEXT,
    args: [
      root === '/' ? '/' : checkServerPath(root),
      ...clones.flatMap(({ path, branch }) => [checkServerPath(path), checkBranch(branch)]),
    ],
  });
}

/** Whether that git can do what the scripts ask of it: 2.20 or newer. */
export function isGitSupported(version: string | null): boolean {
  const [major = 0, minor = 0] = (version ?? '').split('.').map(Number);
  return major > 2 || (major === 2 && minor >= 20);
}

const TEXT = String.raw`${LOOK_PRELUDE}
root=$1
shift
cd /

os_value() { (
  [ ! -r /etc/os-release ] || . /etc/os-release
  case $1 in
    id) printf '%s' "$ID" ;;
    version) printf '%s' "$VERSION_ID" ;;
    name) printf '%s' "$PRETTY_NAME" ;;
  esac
) 2>/dev/null; }

find_git_version
find_free "$root"

# enter_release PATH: whether the path is a link to a release, as an atomic switch leaves it; git then works on that.
enter_release() {
  [ -L "$1" ] || return 1
  home=$(dirname "$1")/.$(basename "$1").muster
  installation=$(clone_value "$home" muster.installation)
  [ -n "$installation" ] || return 1
  for release in $(ls "$home/.git/muster-releases"); do
    [ "$1" -ef "$home/releases/$release" ] || continue
    GIT_DIR=$home/.git GIT_WORK_TREE=$home/releases/$release meta=$home/.git/muster-releases/$release
    export GIT_DIR GIT_WORK_TREE
    return 0
  done
  installation=
  return 1
}

# inspect_clone PATH BRANCH: what is there, as JSON. A subshell, as each clone has an environment of its own.
inspect_clone() (
  path=$1
  installation= head= branch= deployed= left= base= modified=null local_commits=
  if [ ! -e "$path" ] && [ ! -L "$path" ]; then
    state=absent
  elif [ -n "$git_version" ] && installation=$(clone_value "$path" muster.installation) && [ -n "$installation" ]; then
    state=clone
    cd "$path" && GIT_DIR=$path/.git GIT_WORK_TREE=$path
    export GIT_DIR GIT_WORK_TREE
    head=$(git rev-parse -q --verify HEAD)
    branch=$(git symbolic-ref -q --short HEAD)
    deployed=$(git rev-parse -q --verify refs/muster/deployed)
    left=$(git rev-parse -q --verify refs/muster/head) || left=$deployed
    base=$(git merge-base HEAD "refs/remotes/origin/$2" 2>/dev/null)
    local_commits=$(git rev-list --count --no-merges HEAD --not --remotes 2>/dev/null)
    # On a copy of the index: the times that a refresh writes down are not this script's business.
    copy=$(mktemp) && cp -p "$GIT_DIR/index" "$copy" 2>/dev/null && {
      on_index "$copy" update-index -q --refresh >/dev/null 2>&1
      if on_index "$copy" diff-index --quiet HEAD -- 2>/dev/null; then modified=false; else modified=true; fi
      [ -z "$deployed" ] ||
        [ "$(git rev-parse -q --verify 'HEAD^{tree}')" = "$(git rev-parse -q --verify "$deployed^{tree}")" ] ||
        modified=true
    }
    rm -f "$copy"
  elif [ -n "$git_version" ] && enter_release "$path"; then
    state=clone branch=$2 local_commits=0
    head=$(cat "$meta/commit")
    base=$head
    deployed=$(git rev-parse -q --verify refs/muster/deployed)
    left=$deployed
    copy=$(mktemp) && cp -p "$meta/index" "$copy" 2>/dev/null && {
      on_index "$copy" update-index -q --refresh >/dev/null 2>&1
      if on_index "$copy" diff-files --quiet 2>/dev/null; then modified=false; else modified=true; fi
    }
    rm -f "$copy"
  elif [ -d "$path" ] && [ -z "$(ls -A "$path" 2>/dev/null)" ]; then
    state=empty
  else
    state=occupied
  fi
  printf '%s' "{\"state\":\"$state\",\"installation\":$(text_or_null "$installation"),\"head\":$(text_or_null "$head"),\"branch\":$(text_or_null "$branch"),\"deployed\":$(text_or_null "$deployed"),\"left\":$(text_or_null "$left"),\"base\":$(text_or_null "$base"),\"modified\":$modified,\"localCommits\":$(number_or_null "$local_commits")}"
)

clones= glue=
while [ $# -gt 0 ]; do
  clones=$clones$glue$(inspect_clone "$1" "$2")
  glue=,
  shift 2
done

answer ",\"hostname\":$(json_text "$(uname -n)"),\"os\":{\"id\":$(json_text "$(os_value id)"),\"version\":$(json_text "$(os_value version)"),\"name\":$(json_text "$(os_value name)")},\"gitVersion\":$(text_or_null "$git_version"),\"freeDiskBytes\":$(number_or_null "$free_bytes"),\"clones\":[$clones]"
`;
