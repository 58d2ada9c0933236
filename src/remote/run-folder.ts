import { z } from 'zod';
import { defineScript, type RemoteScript } from './script.ts';
import { SHELL_PRELUDE } from './shell-prelude.ts';

/** One script that is run once, whatever becomes of the connection. */
export interface RunRequest {
  /** The git directory of the clone; its runs are in `muster-runs` in it, which only their user may enter. */
  readonly gitDir: string;
  /** Of the lease of the (server, path); an older one is refused. */
  readonly fence: number;
  /** Whose run it is: all others of the clone are ended and removed. Letters, digits and `-`. */
  readonly step: string;
  /** Which of the step's runs. The same one is never started twice. */
  readonly name: string;
  /** How many bytes of its output are known already. */
  readonly offset: number;
  readonly script: RemoteScript;
}

/** A script that prints more is ended, as its output lies on the server's disk. */
const MAX_OUTPUT_BYTES = 256 * 1024 * 1024;

/** What ends runs, and the fence: the one of the clone, see `CLONE_LOCK_PRELUDE`. */
const RUNS_PRELUDE = String.raw`${SHELL_PRELUDE}
# pass_fence FENCE
pass_fence() {
  last=
  [ ! -f "$git_dir/muster-fence" ] || read -r last <"$git_dir/muster-fence"
  [ -n "$last" ] || last=0
  [ "$1" -ge "$last" ] ||
    fail fenced_off "A later deployment has been at $git_dir already; this one ($1) may not go on." \
      "{\"fence\":$1,\"last\":$last}"
  # Readable by all, as root may write it, and who owns the clone reads it.
  [ "$1" -eq "$last" ] || {
    echo "$1" >"$runs/fence" && chmod 0644 "$runs/fence" && mv -f "$runs/fence" "$git_dir/muster-fence"
  } || fail command_failed "$git_dir/muster-fence cannot be written; check its permissions and the disk." '{}' true
}

# still_runs PID START BOOT: whether that process or one of its group runs; never true for a later one of its number.
still_runs() {
  [ -r /proc/self/stat ] || {
    kill -s 0 "$1" 2>/dev/null
    return
  }
  boot=
  { read -r boot </proc/sys/kernel/random/boot_id; } 2>/dev/null
  [ "$boot" = "$3" ] || return 1
  leader=$(identify "$1")
  [ -z "$leader" ] || [ "$leader" = "$2" ] || return 1
  lives "$1" "$2"
}

# end_run FOLDER: ends what runs in it, with all of its process group; fails if nothing does. After 5 seconds by KILL.
end_run() {
  [ ! -L "$1/rc" ] && owner=$(readlink "$1/pid" 2>/dev/null) || return 1
  set -- "$1" $owner '' ''
  still_runs "$2" "$3" "$4" || return 1
  signal_group TERM "$2"
  tenths=0
  while lives "$2" ''; do
    [ "$tenths" -lt 50 ] || {
      signal_group KILL "$2"
      return 0
    }
    if sleep 0.1 2>/dev/null; then tenths=$((tenths + 1)); else sleep 1; tenths=$((tenths + 10)); fi
  done
}

# end_runs FOLDER: all runs of one step, and their folder; "ended" is how many still ran.
ended=0
end_runs() {
  for one in "$1"/*; do
    ! end_run "$one" || ended=$((ended + 1))
  done
  rm -rf "$1" || fail command_failed "$1 cannot be removed; check its permissions." '{}' true
}
`;

/**
 * Start a script detached, or find it as an earlier caller has started it, and follow what it prints from an offset
 * on until its end. Standard output and exit code are those of the script, its standard error is part of the former,
 * in the order in which both were written. It needs nobody who listens, and is not ended by the end of this.
 *
 * In `muster-runs/<step>/<name>` are `script`, `out`, and two links that lead nowhere: `pid` says by process id, start
 * time and boot who runs it, `rc` at its end its exit code and how long `out` was then. A link is made in one piece,
 * by one maker only, and on a full disk, too.
 *
 * Fails with `clone_missing`, `fenced_off`, `command_failed`; with `action_interrupted` if the script was ended by a
 * signal, the server was restarted, or its folder is gone; with `action_failed` if it prints too much.
 */
export function followRunScript(request: RunRequest): RemoteScript {
  const { gitDir, step, name, fence, offset, script } = request;
  return defineScript({
    ...script,
    text: FOLLOW_TEXT,
    args: [
      gitDir,
      step,
      name,
      `${fence}`,
      `${offset}`,
      `${MAX_OUTPUT_BYTES}`,
      script.text,
      ...script.args,
    ],
  });
}

/** `ended`: how many still ran. */
export const endRunsAnswerSchema = z.object({ ok: z.literal(true), ended: z.number().int() });

/**
 * End all runs of a clone, each with its whole process group (TERM, after 5 seconds KILL), and remove what is left of
 * them and of earlier ones. Fails with `fenced_off`, `command_failed`.
 * @param of.fence of whoever asks; null for who ends all of them, whosever they are
 */
export function endRunsScript(of: {
  readonly gitDir: string;
  readonly fence: number | null;
}): RemoteScript {
  return defineScript({ name: 'end-runs', text: END_TEXT, args: [of.gitDir, `${of.fence ?? ''}`] });
}

const END_TEXT = String.raw`${RUNS_PRELUDE}
git_dir=$1 fence=$2
runs=$git_dir/muster-runs
[ -d "$runs" ] || answer ',"ended":0'
[ -z "$fence" ] || pass_fence "$fence"
for other in "$runs"/*; do
  [ ! -d "$other" ] || end_runs "$other"
done
rm -rf "$runs" || fail command_failed "$runs cannot be removed; check its permissions." '{}' true
answer ",\"ended\":$ended"
`;

/**
 * What runs detached: `$1` is the run's folder, `$2` the file with the fence, `$3` the fence. It has no `'` in it.
 *
 * The fence is looked at again once the run is taken: who came meanwhile with a later one has either been seen, or
 * sees this one and ends it. Signals are trapped and not ignored, as that would be handed on to all that it starts.
 */
const KEEPER_TEXT = `
run=$1
trap : TERM HUP
start=$(sed -n "s/.*) [^ZX] //p" "/proc/$$/stat" 2>/dev/null | cut -d " " -f 19)
boot=
{ read -r boot </proc/sys/kernel/random/boot_id; } 2>/dev/null
ln -s "$$ $start $boot" "$run/pid" 2>/dev/null || exit
read -r last <"$2"
[ "$last" -le "$3" ] || { rm -f "$run/pid"; exit; }
sh "$run/script"
code=$?
ln -s "$code $(wc -c <"$run/out")" "$run/rc" 2>/dev/null
`;

const FOLLOW_TEXT = String.raw`${RUNS_PRELUDE}
git_dir=$1 step=$2 name=$3 fence=$4 offset=$5 limit=$6 text=$7
shift 7
runs=$git_dir/muster-runs
run=$runs/$step/$name
keeper='${KEEPER_TEXT}'
[ -d "$git_dir" ] ||
  fail clone_missing "There is no clone with $git_dir on this server; initialize the gitdeploy there again."

make_folder() {
  mkdir -m 0700 "$1" 2>/dev/null || [ -d "$1" ] ||
    fail command_failed "The folder $1 cannot be made; check the permissions and the disk." '{}' true
}
# interrupted HOW: an answer on a line of its own, after output that may have no line end.
interrupted() {
  echo >&3
  fail action_interrupted "It was ended from outside: $1. Look at what it had done by then, and deploy again."
}

make_folder "$runs"
pass_fence "$fence"
for other in "$runs"/*; do
  [ ! -d "$other" ] || [ "$other" = "$runs/$step" ] || end_runs "$other"
done
if [ "$offset" -gt 0 ] && [ ! -L "$run/pid" ]; then
  interrupted "it had begun, but $run is gone from the server"
fi
make_folder "$runs/$step"
make_folder "$run"
: >>"$run/out" || fail command_failed "$run/out cannot be written; check the disk." '{}' true

# quote VALUE: as a word of a shell, and on to the next line.
quote() {
  case $1 in
    *\'*)
      printf "'"
      printf '%s\n' "$1" | LC_ALL=C sed -e "s/'/'\\\\''/g" -e "\$s/\$/' \\\\/" ;;
    *) printf "'%s' \\\\\n" "$1" ;;
  esac
}
write_script() {
  printf 'set -- \\\n'
  for argument in "$@"; do quote "$argument"; done
  printf '\n%s\n' "$text"
}
starts=0 keeper_pid=
# start ARGUMENTS…: whoever starts it, only one keeper takes the run. In a session of its own: so it is not ended with
# that of SSH, and can be ended as a whole. Without setsid it is only spared the hangup.
start() {
  starts=$((starts + 1))
  write_script "$@" >"$run/script.$$" && mv -f "$run/script.$$" "$run/script" ||
    fail command_failed "$run/script cannot be written; make room on the server's disk." '{}' true
  if command -v setsid >/dev/null 2>&1; then apart=setsid; else apart=nohup; fi
  $apart sh -c "$keeper" muster "$run" "$git_dir/muster-fence" "$fence" </dev/null >>"$run/out" 2>&1 3>&- 4<&- &
  keeper_pid=$!
}
[ -L "$run/pid" ] || start "$@"

# take SIZE: what is in "out" up to there and was not taken yet. One read of a file brings all that is asked for.
exec 4<"$run/out"
taken=0
take() {
  while [ "$taken" -lt "$1" ]; do
    count=$(($1 - taken))
    [ "$count" -le 1048576 ] || count=1048576
    dd bs="$count" count=1 <&4 2>/dev/null || exit 141
    taken=$((taken + count))
  done
}
take "$offset" >/dev/null

# Polled ever more slowly, so that a quick script is heard of at once and a long one costs nothing.
round=0
pause() {
  case $round in [0-3]) seconds=0.01 ;; [4-9]) seconds=0.05 ;; *) seconds=0.2 ;; esac
  round=$((round + 1))
  sleep "$seconds" 2>/dev/null || sleep 1
}
gone=false
until finished=$(readlink "$run/rc" 2>/dev/null); do
  [ "$gone" = false ] || interrupted 'its process has gone without a word, as when the server is restarted or out of memory'
  size=$(wc -c 2>/dev/null <"$run/out") || interrupted 'a later deployment has come, or somebody has removed its folder'
  size=$((size))
  [ "$size" -le "$limit" ] || {
    end_run "$run"
    echo >&3
    fail action_failed "It printed more than $limit bytes and was ended; let it print less, or into a file."
  }
  if [ "$size" -gt "$taken" ]; then
    take "$size" >&3
  elif [ $((round % 8)) -eq 7 ]; then
    if owner=$(readlink "$run/pid" 2>/dev/null); then
      # Once more around, as it may have come to its end just now.
      still_runs $owner '' '' || gone=true
    elif [ -z "$keeper_pid" ] || [ -z "$(identify "$keeper_pid")" ]; then
      [ "$starts" -lt 3 ] || fail command_failed "It could not be started: $(cat "$run/out")" '{}' true
      start "$@"
    fi
  fi
  pause
done
IFS=' ' read -r code size <<END
$finished
END
take $((size)) >&3
[ "$code" -le 128 ] || interrupted "by signal $((code - 128))"
exit "$code"
`;
