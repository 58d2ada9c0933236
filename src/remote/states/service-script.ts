import { STATE_PRELUDE } from './state-prelude.ts';

/**
 * Brings one service to what is wanted, by systemd, OpenRC or the scripts of sysvinit.
 * `$1…` are the service, `up`, `down` or nothing, and `true`, `false` or nothing for its start with the server.
 * Source of how to tell the init system: sd_booted(3). Source of status codes: rc_service_state in OpenRC's rc.h,
 * and "Init Script Actions" in the Linux Standard Base.
 */
export const SERVICE_TEXT = String.raw`${STATE_PRELUDE}
name=$1 wanted=$2 enable=$3

if [ -d /run/systemd/system ] && command -v systemctl >/dev/null 2>&1; then
  init=systemd
elif command -v rc-service >/dev/null 2>&1; then
  init=OpenRC
elif command -v service >/dev/null 2>&1 || [ -d /etc/init.d ]; then
  init=sysvinit
else
  fail action_failed 'This server has neither systemd nor OpenRC nor sysvinit; use cmd.run to start and stop services.'
fi

output=$(mktemp) || fail action_failed 'No temporary file can be made on this server; check the disk.'
clean_up() { rm -f "$output"; }
# run COMMAND…: into a file, as a daemon that is started this way keeps what it was given, and a pipe would end.
run() {
  as_root "$@" </dev/null >"$output" 2>&1 3>&-
  status=$?
  cat "$output"
  [ "$status" -ne 0 ] || return 0
  explain
  tell failed "$status"
}
explain() {
  [ "$init" != systemd ] || as_root systemctl status --no-pager --full --lines=20 "$name" 3>&-
}

sysv() {
  if command -v service >/dev/null 2>&1; then echo service "$name"; else echo "/etc/init.d/$name"; fi
}

# run_state: up, down, or between, such as starting, stopping or crashed.
run_state() {
  case $init in
    systemd)
      case $(systemctl is-active "$name" 2>/dev/null) in
        active | reloading | refreshing) echo up ;;
        inactive | failed | unknown | '') echo down ;;
        *) echo between ;;
      esac ;;
    OpenRC)
      rc-service "$name" status </dev/null >/dev/null 2>&1 3>&-
      case $? in 0) echo up ;; 4 | 8 | 16 | 32) echo between ;; *) echo down ;; esac ;;
    sysvinit)
      if as_root $(sysv) status </dev/null >/dev/null 2>&1 3>&-; then echo up; else echo down; fi ;;
  esac
}

# command_service ACTION: start, stop or restart.
command_service() {
  case $init in
    systemd) run systemctl --no-ask-password "$1" "$name" ;;
    OpenRC) run rc-service "$name" "$1" ;;
    sysvinit) run $(sysv) "$1" ;;
  esac
}

# await STATE: the scripts of sysvinit may return before what they began is done; the others do not.
await() {
  tries=1
  [ "$init" != sysvinit ] || tries=5
  while [ "$(run_state)" != "$1" ]; do
    tries=$((tries - 1))
    [ "$tries" -gt 0 ] || return 1
    sleep 1
  done
}

# boot_state: on, off, or fixed: a unit that starts because of others, and can be neither.
boot_state() {
  case $init in
    systemd)
      case $(systemctl is-enabled "$name" 2>/dev/null) in
        enabled | alias) echo on ;;
        static | indirect | generated | transient) echo fixed ;;
        *) echo off ;;
      esac ;;
    OpenRC)
      if rc-update show 2>/dev/null | sed -n 's/^ *\([^ |]*\) *|.*/\1/p' | grep -qxF -- "$name"; then echo on; else echo off; fi ;;
    sysvinit)
      if command -v chkconfig >/dev/null 2>&1; then
        if chkconfig "$name" >/dev/null 2>&1; then echo on; else echo off; fi
        return
      fi
      for link in /etc/rc[2345].d/S[0-9][0-9]"$name"; do
        [ ! -L "$link" ] || { echo on; return; }
      done
      echo off ;;
  esac
}

set_boot() {
  case $init-$enable in
    systemd-true) run systemctl --no-ask-password enable "$name" ;;
    systemd-false) run systemctl --no-ask-password disable "$name" ;;
    OpenRC-true) run rc-update add "$name" default ;;
    OpenRC-false) run rc-update -a del "$name" ;;
    *)
      if command -v chkconfig >/dev/null 2>&1; then
        if [ "$enable" = true ]; then run chkconfig "$name" on; else run chkconfig "$name" off; fi
      elif ! command -v update-rc.d >/dev/null 2>&1; then
        fail action_failed 'This server has neither update-rc.d nor chkconfig; use cmd.run to enable and disable services.'
      elif [ "$enable" = true ]; then
        # "enable" turns links around, and "defaults" makes them; neither does the work of both.
        run update-rc.d "$name" defaults
        run update-rc.d "$name" enable
      else
        run update-rc.d "$name" disable
      fi ;;
  esac
}

changed=unchanged
case $wanted-$(run_state) in
  up-up) echo "$name runs ($init)." ;;
  down-down) echo "$name does not run ($init)." ;;
  up-*)
    # OpenRC does not start what it takes for started, even if it has crashed.
    if [ "$init-$(run_state)" = OpenRC-between ]; then command_service restart; else command_service start; fi
    await up || { explain; fail action_failed "$name was started on this server but does not run; see the service's own log."; }
    echo "$name has been started ($init)."
    changed=changed ;;
  down-*)
    command_service stop
    await down || { explain; fail action_failed "$name was stopped on this server but still runs; see the service's own log."; }
    echo "$name has been stopped ($init)."
    changed=changed ;;
esac

case $enable-$(boot_state) in
  true-on) echo "$name starts with the server." ;;
  false-off) echo "$name does not start with the server." ;;
  true-fixed | false-fixed) echo "$name starts when others need it, and can be neither enabled nor disabled." ;;
  true-*)
    set_boot
    [ "$(boot_state)" = on ] || fail action_failed "$name cannot be enabled on this server; see the state's output."
    echo "$name now starts with the server."
    changed=changed ;;
  false-*)
    set_boot
    [ "$(boot_state)" = off ] || fail action_failed "$name cannot be disabled on this server; see the state's output."
    echo "$name no longer starts with the server."
    changed=changed ;;
esac
tell "$changed"
`;
