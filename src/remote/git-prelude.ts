import { SHELL_PRELUDE } from './shell-prelude.ts';

/**
 * `SHELL_PRELUDE` and a git that behaves the same on every server, from 2.20 on: no hooks, no prompts, no
 * configuration but the clone's own, and of that nothing that changes what a deployment does.
 *
 * - HOME is what keeps user configuration out before git 2.32; GIT_CONFIG_GLOBAL does it since.
 * - `enter_clone` names GIT_DIR: then git does not ask who owns the folder. `-c safe.directory=*` is not heard
 *   before git 2.38, and a configuration file for it would have to be put somewhere.
 * - `info/attributes` outranks any `.gitattributes` of a build: files arrive byte for byte, never converted.
 */
export const GIT_PRELUDE = String.raw`${SHELL_PRELUDE}
LC_ALL=C
unset GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE GIT_OBJECT_DIRECTORY GIT_ALTERNATE_OBJECT_DIRECTORIES GIT_COMMON_DIR
unset GIT_NAMESPACE GIT_CONFIG GIT_CONFIG_PARAMETERS GIT_CONFIG_COUNT GIT_TEMPLATE_DIR GIT_EXTERNAL_DIFF GIT_QUARANTINE_PATH
GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_SYSTEM=/dev/null GIT_CONFIG_GLOBAL=/dev/null GIT_ATTR_NOSYSTEM=1
HOME=/dev/null XDG_CONFIG_HOME=/dev/null
GIT_TERMINAL_PROMPT=0 GIT_EDITOR=: GIT_PAGER=cat GIT_DEFAULT_HASH=sha1 GIT_LITERAL_PATHSPECS=1 GIT_NO_REPLACE_OBJECTS=1
GIT_AUTHOR_NAME=Muster GIT_AUTHOR_EMAIL=muster@localhost GIT_COMMITTER_NAME=Muster GIT_COMMITTER_EMAIL=muster@localhost
export LC_ALL HOME XDG_CONFIG_HOME GIT_CONFIG_NOSYSTEM GIT_CONFIG_SYSTEM GIT_CONFIG_GLOBAL GIT_ATTR_NOSYSTEM
export GIT_TERMINAL_PROMPT GIT_EDITOR GIT_PAGER GIT_DEFAULT_HASH GIT_LITERAL_PATHSPECS GIT_NO_REPLACE_OBJECTS
export GIT_AUTHOR_NAME GIT_AUTHOR_EMAIL GIT_COMMITTER_NAME GIT_COMMITTER_EMAIL

git() {
  command git -c core.hooksPath=/dev/null -c core.fsmonitor=false -c gc.auto=0 -c maintenance.auto=false \
    -c protocol.ext.allow=never -c core.quotePath=true -c core.autocrlf=false -c core.safecrlf=false \
    -c core.excludesFile=/dev/null -c core.attributesFile=/dev/null -c core.sparseCheckout=false \
    -c core.splitIndex=false -c commit.gpgSign=false -c merge.verifySignatures=false -c merge.ff=true \
    -c merge.autoStash=false -c merge.renames=true -c merge.conflictStyle=merge -c rerere.enabled=false \
    -c submodule.recurse=false -c advice.detachedHead=false -c index.version=2 "$@"
}

# on_index FILE ARGUMENTS…: git with another index. A subshell, as what NAME=value does before a function differs.
on_index() (
  GIT_INDEX_FILE=$1
  export GIT_INDEX_FILE
  shift
  git "$@"
)

require_git() {
  command -v git >/dev/null 2>&1 ||
    fail server_unsuitable 'git is not installed on this server; install git 2.20 or newer.'
}

# clone_value PATH KEY: a value from the configuration of the clone at PATH, nothing if there is none.
clone_value() {
  [ ! -f "$1/.git/config" ] || git config --file "$1/.git/config" --get "$2" 2>/dev/null || :
}

# scan_config PATH BRANCH: what the configuration of the clone at PATH says as git writes it, read without a process:
# "installed", whose clone it is, and "tracks", the remote of the branch. What is written otherwise is not found.
scan_config() {
  installed= tracks= section=
  [ -r "$1/.git/config" ] || return 0
  while read -r key equals value; do
    case $key in
      '['*) section="$key $equals" ;;
      installation) [ "$section" != '[muster] ' ] || installed=$value ;;
      remote) [ "$section" != "[branch \"$2\"]" ] || tracks=$value ;;
    esac
  done <"$1/.git/config"
}

# is_clone_of PATH INSTALLATION
is_clone_of() {
  [ -d "$1/.git" ] || return 1
  scan_config "$1" ''
  [ "$installed" = "$2" ] || [ "$(clone_value "$1" muster.installation)" = "$2" ]
}

# enter_clone PATH INSTALLATION: from here on git works on that clone.
enter_clone() {
  require_git
  if ! is_clone_of "$1" "$2"; then
    fail clone_missing "There is no clone of this Muster at $1; initialize the gitdeploy on this server again."
  fi
  cd "$1" || fail command_failed "The folder $1 cannot be entered; check its permissions."
  GIT_DIR=$1/.git GIT_WORK_TREE=$1
  export GIT_DIR GIT_WORK_TREE
}

ATTRIBUTES='* -text -ident !eol !filter !working-tree-encoding'

# write_info GITDIR PATTERNS…: the exclude list, and the end of all conversions.
write_info() {
  info=$1/info
  shift
  mkdir -p "$info" &&
    {
      echo '# Written by Muster at each deployment, from the gitdeploy option "gitignore".'
      [ $# -eq 0 ] || printf '%s\n' "$@"
    } >"$info/exclude.new" &&
    mv -f "$info/exclude.new" "$info/exclude" &&
    echo "$ATTRIBUTES" >"$info/attributes.new" &&
    mv -f "$info/attributes.new" "$info/attributes"
}

# is_ref NAME VALUE: read from the file itself; a ref that git has packed is not found.
is_ref() {
  read_line "$GIT_DIR/$1"
  [ "$line" = "$2" ]
}

# Whether a git that somebody else started works in this clone. Without /proc nobody can tell: then no.
git_works_here() {
  real=$(pwd -P)
  for process in /proc/[0-9]*; do
    [ "$(cat "$process/comm" 2>/dev/null)" = git ] || continue
    case $(readlink "$process/cwd" 2>/dev/null)/ in "$real"/*) return 0 ;; esac
  done
  return 1
}

# remove_stale_lock FILE: what git leaves when it is killed makes every later git fail.
remove_stale_lock() {
  [ -e "$1" ] || return 0
  waited=0
  while [ -e "$1" ] && git_works_here; do
    waited=$((waited + 1))
    [ "$waited" -le 10 ] ||
      fail path_busy "Somebody runs git in this clone ($1 is there); try again when it has ended." '{}' true
    sleep 1
  done
  rm -f "$1"
}

# point_at COMMIT BRANCH: the remote-tracking branch says that the commit was staged.
point_at() {
  remove_stale_lock "$GIT_DIR/refs/remotes/origin/$2.lock"
  words=$(git update-ref "refs/remotes/origin/$2" "$1" 2>&1) ||
    fail command_failed "The commit is here but cannot be named: $words"
}

has_commit() { git cat-file -e "$1^{commit}" 2>/dev/null; }

# is_complete COMMIT: whether all that the commit needs is in the clone.
is_complete() { git rev-list --objects --quiet "$1" --not --all 2>/dev/null; }
`;
