import { z } from 'zod';
import { LOOK_PRELUDE } from './look-prelude.ts';
import { checkServerPath } from './operands.ts';
import { defineScript, type RemoteScript } from './script.ts';

/** The answer of `preflight`. */
export const preflightAnswerSchema = z.object({
  ok: z.literal(true),
  /** Such as `2.39.5`, or null if git is not installed. */
  gitVersion: z.string().nullable(),
  /** In the order in which they were asked for. */
  clones: z.array(
    z.object({
      state: z.enum(['ready', 'missing', 'read_only', 'locked', 'no_space']),
      /** Free for the connection's user; null if that cannot be told. */
      freeBytes: z.number().int().nullable(),
      /** Who works there, if it is locked. */
      holder: z.string().nullable(),
    }),
  ),
});
export type PreflightAnswer = z.infer<typeof preflightAnswerSchema>;

/** A clone as it is looked at before a deployment. */
export interface PreflightClone {
  /** Where its `.git` is: the path itself, or for an atomic switch the folder beside it. */
  readonly home: string;
  readonly installationId: string;
  /** What is going to be written there, at most. */
  readonly neededBytes: number;
}

/** As many clones as fit into one command even if each path is as long as it may be. */
export const MAX_PREFLIGHT_CLONES = 20;

/** Looks whether clones can be deployed to. Changes nothing. */
export function preflightScript(clones: readonly PreflightClone[]): RemoteScript {
  return defineScript({
    name: 'preflight',
    text: TEXT,
    args: clones.flatMap(({ home, installationId, neededBytes }) => [
      checkServerPath(home),
      installationId,
      `${Math.ceil(neededBytes / 1024)}`,
    ]),
  });
}

const TEXT = String.raw`${LOOK_PRELUDE}
find_git_version

clones= glue=
while [ $# -gt 0 ]; do
  home=$1 installation=$2 needed_kib=$3
  shift 3
  state=ready holder=null
  find_free "$home"
  read_line "$home/.git/muster.lock/owner"
  owner=$line
  if [ -n "$owner" ]; then
    IFS=' ' read -r owner_fence owner_pid owner_start owner_name <<OWNER
$owner
OWNER
    if lives "$owner_pid" "$owner_start"; then
      state=locked holder=$(json_text "$owner_name")
    fi
  fi
  if [ -n "$git_version" ]; then
    if ! is_clone_of "$home" "$installation"; then
      state=missing
    elif [ ! -w "$home" ] || [ ! -w "$home/.git" ] || [ ! -w "$home/.git/objects" ]; then
      state=read_only
    elif [ "$state" = ready ] && [ -n "$free_kib" ] && [ "$free_kib" -lt "$needed_kib" ]; then
      state=no_space
    fi
  fi
  [ -n "$free_bytes" ] || free_bytes=null
  clones=$clones$glue"{\"state\":\"$state\",\"freeBytes\":$free_bytes,\"holder\":$holder}"
  glue=,
done
# As a string without json_text, which takes more processes than all the rest.
version=null
[ -z "$git_version" ] || version="\"$git_version\""
answer ",\"gitVersion\":$version,\"clones\":[$clones]"
`;
