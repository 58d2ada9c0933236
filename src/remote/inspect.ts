import { z } from 'zod';
import { GIT_PRELUDE } from './git-prelude.ts';
import { checkServerPath } from './operands.ts';
import { defineScript, type RemoteScript } from './script.ts';

/** What a server says of itself and of one path on it. */
export const inspectAnswerSchema = z.object({
  ok: z.literal(true),
  hostname: z.string(),
  /** From /etc/os-release; empty strings where there is none. */
  os: z.object({ id: z.string(), version: z.string(), name: z.string() }),
  /** Such as `2.39.5`, or null if git is not installed. */
  gitVersion: z.string().nullable(),
  clockEpochSeconds: z.number().int(),
  /** Free for the connection's user on the file system of the path, or of its nearest folder that exists. */
  freeDiskBytes: z.number().int().nullable(),
  /** `clone`: of any Muster, see `installation`; `occupied`: something else is there. */
  state: z.enum(['absent', 'empty', 'clone', 'occupied']),
  installation: z.string().nullable(),
  head: z.string().nullable(),
  /** Null while HEAD is detached. */
  branch: z.string().nullable(),
  /** The commit that Muster switched to last. */
  deployed: z.string().nullable(),
  /** Whether tracked files differ from HEAD. */
  modified: z.boolean().nullable(),
  /** How many commits, merges aside, were made on the server. */
  localCommits: z.number().int().nullable(),
});

/** The answer of `inspect`. */
export type InspectAnswer = z.infer<typeof inspectAnswerSchema>;

/** Look at a server and at one absolute path on it. Changes nothing. Works without git, which it then reports. */
export function inspectScript(options: { readonly path: string }): RemoteScript {
  const path = options.path === '/' ? '/' : checkServerPath(options.path);
  return defineScript({ name: 'inspect', text: TEXT, args: [path] });
}

/** Whether that git can do what the scripts ask of it: 2.20 or newer. */
export function isGitSupported(version: string | null): boolean {
  const [major = 0, minor = 0] = (version ?? '').split('.').map(Number);
  return major > 2 || (major === 2 && minor >= 20);
}

const TEXT = String.raw`${GIT_PRELUDE}
path=$1
cd /

os_value() { (
  [ ! -r /etc/os-release ] || . /etc/os-release
  case $1 in
    id) printf '%s' "$ID" ;;
    version) printf '%s' "$VERSION_ID" ;;
    name) printf '%s' "$PRETTY_NAME" ;;
  esac
) 2>/dev/null; }

text_or_null() { if [ -n "$1" ]; then json_text "$1"; else printf null; fi; }
number_or_null() { case $1 in '' | *[!0-9]*) printf null ;; *) printf '%s' "$1" ;; esac; }

git_version=
! command -v git >/dev/null 2>&1 || git_version=$(command git --version | sed 's/^git version \([0-9.]*[0-9]\).*/\1/')

existing=$path
while [ ! -e "$existing" ]; do existing=$(dirname "$existing"); done
free_kib=$(df -Pk "$existing" 2>/dev/null | sed -n '2s/^.* \([0-9][0-9]*\)  *[0-9]*%.*$/\1/p')
free=
case $free_kib in '' | *[!0-9]*) ;; *) free=$((free_kib * 1024)) ;; esac

installation= head= branch= deployed= modified=null local_commits=
if [ ! -e "$path" ] && [ ! -L "$path" ]; then
  state=absent
elif [ -n "$git_version" ] && installation=$(clone_value "$path" muster.installation) && [ -n "$installation" ]; then
  state=clone
  cd "$path" && GIT_DIR=$path/.git GIT_WORK_TREE=$path
  export GIT_DIR GIT_WORK_TREE
  head=$(git rev-parse -q --verify HEAD)
  branch=$(git symbolic-ref -q --short HEAD)
  deployed=$(git rev-parse -q --verify refs/muster/deployed)
  local_commits=$(git rev-list --count --no-merges HEAD --not --remotes 2>/dev/null)
  # On a copy of the index: the times that a refresh writes down are not this script's business.
  copy=$(mktemp) && cp "$GIT_DIR/index" "$copy" 2>/dev/null && {
    on_index "$copy" update-index -q --refresh >/dev/null 2>&1
    if on_index "$copy" diff-index --quiet HEAD -- 2>/dev/null; then modified=false; else modified=true; fi
  }
  rm -f "$copy"
elif [ -d "$path" ] && [ -z "$(ls -A "$path" 2>/dev/null)" ]; then
  state=empty
else
  state=occupied
fi

answer ",\"hostname\":$(json_text "$(uname -n)"),\"os\":{\"id\":$(json_text "$(os_value id)"),\"version\":$(json_text "$(os_value version)"),\"name\":$(json_text "$(os_value name)")},\"gitVersion\":$(text_or_null "$git_version"),\"clockEpochSeconds\":$(date +%s),\"freeDiskBytes\":$(number_or_null "$free"),\"state\":\"$state\",\"installation\":$(text_or_null "$installation"),\"head\":$(text_or_null "$head"),\"branch\":$(text_or_null "$branch"),\"deployed\":$(text_or_null "$deployed"),\"modified\":$modified,\"localCommits\":$(number_or_null "$local_commits")"
`;
