import { STATE_PRELUDE } from './state-prelude.ts';

/**
 * Installs or removes packages by apt, dnf, yum or apk.
 * `$1…` are `install` or `remove`, whether to refresh (`true`, `false`, or nothing for trying), and one
 * `name` or `name=version` for each package.
 */
export const PKG_TEXT = String.raw`${STATE_PRELUDE}
action=$1 refresh=$2
shift 2

if command -v apt-get >/dev/null 2>&1 && command -v dpkg-query >/dev/null 2>&1; then
  manager=apt-get
elif command -v dnf >/dev/null 2>&1; then
  manager=dnf
elif command -v yum >/dev/null 2>&1; then
  manager=yum
elif command -v apk >/dev/null 2>&1; then
  manager=apk
else
  fail action_failed 'This server has neither apt nor dnf, yum or apk; use cmd.run to install and remove packages.'
fi

name_of() { printf '%s\n' "$1" | cut -d = -f 1; }
version_of() { printf '%s\n' "$1" | cut -s -d = -f 2; }

# versions NAME: all ways to write the versions that are installed, one in a line; fails if there is none.
versions() {
  case $manager in
    apt-get)
      dpkg-query -W -f '$''{db:Status-Status} $''{Version}\n' "$1" 2>/dev/null | sed -n 's/^installed //p' | grep . ;;
    *)
      rpm -q --qf '%{VERSION}\n%{VERSION}-%{RELEASE}\n%{EPOCHNUM}:%{VERSION}-%{RELEASE}\n' "$1" 2>/dev/null ;;
  esac
}

# has SPEC: whether it is installed, in its version if it has one.
has() {
  if [ "$manager" = apk ]; then
    apk info -e "$1" >/dev/null 2>&1
    return
  fi
  found=$(versions "$(name_of "$1")") || return 1
  wanted=$(version_of "$1")
  [ -z "$wanted" ] || printf '%s\n' "$found" | grep -qxF -- "$wanted"
}

# run COMMAND…
run() {
  as_root "$@" </dev/null 3>&-
  status=$?
  [ "$status" -eq 0 ] || tell failed "$status"
}

# apt ACTION…: asks nothing, keeps configuration that was changed by hand, and takes no name for a pattern.
apt() {
  run env DEBIAN_FRONTEND=noninteractive apt-get -y -q -o Dpkg::Options::=--force-confdef \
    -o Dpkg::Options::=--force-confold -o DPkg::Lock::Timeout=120 -o APT::Cmd::Pattern-Only=true "$@"
}

refresh_lists() {
  case $manager in
    apt-get) as_root apt-get -q -o DPkg::Lock::Timeout=120 update ;;
    dnf | yum) as_root "$manager" -q clean expire-cache ;;
    apk) as_root apk update ;;
  esac </dev/null 3>&-
}

# Names and versions hold neither blanks nor patterns, so that a plain string can be the list.
todo= downgrade=
for spec in "$@"; do
  if has "$spec"; then there=install; else there=remove; fi
  [ "$there" != "$action" ] || continue
  case $spec in *=*) downgrade=--allow-downgrades ;; esac
  todo="$todo $spec"
done
if [ -z "$todo" ]; then
  echo "Nothing to $action ($manager)."
  tell unchanged
fi

if [ "$action" = remove ]; then
  case $manager in
    apt-get) apt remove -- $todo ;;
    dnf | yum) run "$manager" -y remove -- $todo ;;
    apk) run apk del -- $todo ;;
  esac
  for spec in $todo; do
    ! has "$spec" || fail action_failed "$spec is still installed on this server; see the state's output."
  done
  echo "Removed:$todo."
  tell changed
fi

if [ "$refresh" != false ] && ! refresh_lists; then
  [ -z "$refresh" ] || fail action_failed "The lists of packages cannot be fetched ($manager); see the state's output."
  echo 'The lists of packages cannot be fetched; those that are here are used.'
fi
case $manager in
  apt-get) apt $downgrade install -- $todo ;;
  # Here a version is written name-version.
  dnf | yum) run "$manager" -y install -- $(printf '%s\n' "$todo" | tr = -) ;;
  apk) run apk add -- $todo ;;
esac
for spec in $todo; do
  has "$spec" ||
    fail action_failed "$spec is not installed on this server under that name and version; see the state's output, and name the package itself if that is another's alias."
done
echo "Installed:$todo."
tell changed
`;
