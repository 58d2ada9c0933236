import { GIT_PRELUDE } from './git-prelude.ts';

/**
 * `GIT_PRELUDE` and what both ways to initialize have in common: the folder aside in which everything is built before
 * it moves to its place, and the repository that is built in it.
 */
export const NEW_CLONE_PRELUDE = String.raw`${GIT_PRELUDE}
require_parent() {
  [ -d "$1" ] ||
    fail path_parent_missing "The folder $1 does not exist on this server; make it, then initialize again." \
      "{\"parent\":$(json_text "$1")}"
}

# refuse_other_clone FOLDER PLACES: a clone in FOLDER that is not this gitdeploy's; PLACES is what would have to go.
refuse_other_clone() {
  [ -z "$(clone_value "$1" muster.installation)" ] ||
    fail path_occupied "$2 is a clone that Muster made for another gitdeploy, or for one that was deleted before it was deinitialized. If that gitdeploy is still there, deinitialize it or choose another path; else move the clone away or remove it on the server, then initialize again."
}

# refuse_other_stage STAGE PATH INSTALLATION: what an earlier run left when it was killed is ours, and nobody is at it.
refuse_other_stage() {
  [ -d "$1" ] || return 0
  [ "$(cat "$1/installation" 2>/dev/null)" = "$3" ] || [ -z "$(ls -A "$1")" ] ||
    fail path_occupied "$1 is in the way and not ours; remove it."
  ! lives "$(cat "$1/pid" 2>/dev/null || echo 0)" "$(cat "$1/start" 2>/dev/null)" ||
    fail path_busy "$2 is being initialized by another run; try again when it has ended." '{}' true
}

# sign_stage STAGE INSTALLATION
sign_stage() {
  echo "$2" >"$1/installation" && echo $$ >"$1/pid" && identify $$ >"$1/start"
}

# make_repository FOLDER BRANCH INSTALLATION GITREPO: without any object. From here on git works in it.
make_repository() {
  git init -q --template= "$1" || return 1
  GIT_DIR=$1/.git GIT_WORK_TREE=$1
  export GIT_DIR GIT_WORK_TREE
  cd "$1" &&
    git symbolic-ref HEAD "refs/heads/$2" &&
    git config user.name Muster &&
    git config user.email muster@localhost &&
    git config gc.auto 0 &&
    git config remote.origin.url "muster://$3/$4" &&
    git config remote.origin.pushurl disabled://deploy-with-muster-instead &&
    git config remote.origin.fetch '+refs/heads/*:refs/remotes/origin/*' &&
    git config "branch.$2.remote" origin &&
    git config "branch.$2.merge" "refs/heads/$2" &&
    git config muster.installation "$3" &&
    git config muster.gitrepo "$4"
}

# fill_repository BRANCH COMMIT: the pack on standard input, and the names of what is in it.
fill_repository() {
  git index-pack --stdin &&
    is_complete "$2" &&
    git update-ref -m 'muster: initialize' --stdin <<REFS
update refs/remotes/origin/$1 $2
update refs/muster/deployed $2
update refs/muster/head $2
update refs/heads/$1 $2
REFS
}
`;
