import { GIT_PRELUDE } from './git-prelude.ts';

/** `GIT_PRELUDE` and what scripts have in common that look at a server, also at one without git, and change nothing. */
export const LOOK_PRELUDE = String.raw`${GIT_PRELUDE}
text_or_null() { if [ -n "$1" ]; then json_text "$1"; else printf null; fi; }
number_or_null() { case $1 in '' | *[!0-9]*) printf null ;; *) printf '%s' "$1" ;; esac; }

# find_git_version: "git_version" such as 2.39.5, only digits and points, 0 if it says none; empty if git is not installed.
find_git_version() {
  git_version=
  ! command -v git >/dev/null 2>&1 ||
    git_version=$(command git --version)
  # A distributor may have put something after the number.
  set -- $git_version
  git_version=
  [ $# -lt 3 ] || git_version=$3
  case $git_version in
    *[!0-9.]*)
      git_version=$(echo "$git_version" | sed -n 's/^\([0-9.]*[0-9]\).*/\1/p')
      [ -n "$git_version" ] || git_version=0
      ;;
  esac
}

# find_free FOLDER: "free_kib" that this user may still write on its file system, and the same as "free_bytes"; both are
# empty if that cannot be told.
find_free() {
  free_bytes= free_kib=
  # The number before the percentage, as the names before and after it may have blanks.
  set -f
  set -- $(df -Pk "$1" 2>/dev/null)
  set +f
  while [ $# -gt 1 ]; do
    case $1 in '' | *[!0-9]*) ;; *) case $2 in [0-9]*%) free_kib=$1 && break ;; esac ;; esac
    shift
  done
  [ -z "$free_kib" ] || free_bytes=$((free_kib * 1024))
}
`;
