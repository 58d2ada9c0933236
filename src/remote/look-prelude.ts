import { GIT_PRELUDE } from './git-prelude.ts';

/** `GIT_PRELUDE` and what scripts have in common that look at a server, also at one without git, and change nothing. */
export const LOOK_PRELUDE = String.raw`${GIT_PRELUDE}
text_or_null() { if [ -n "$1" ]; then json_text "$1"; else printf null; fi; }
number_or_null() { case $1 in '' | *[!0-9]*) printf null ;; *) printf '%s' "$1" ;; esac; }

# find_git_version: "git_version" such as 2.39.5; empty if git is not installed.
find_git_version() {
  git_version=
  ! command -v git >/dev/null 2>&1 ||
    git_version=$(command git --version | sed 's/^git version \([0-9.]*[0-9]\).*/\1/')
}

# find_free FOLDER: "free_kib" that this user may still write on its file system, and the same as "free_bytes"; both are
# empty if that cannot be told.
find_free() {
  free_kib=$(df -Pk "$1" 2>/dev/null | sed -n '2s/^.* \([0-9][0-9]*\)  *[0-9]*%.*$/\1/p')
  free_bytes=
  [ -z "$free_kib" ] || free_bytes=$((free_kib * 1024))
}
`;
