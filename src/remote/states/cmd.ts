import { z } from 'zod';
import { defineScript } from '../script.ts';
import { SHELL_PRELUDE } from '../shell-prelude.ts';
import { defineStateFunction } from './state.ts';

const scalar = z.union([z.string(), z.number(), z.boolean()]).transform(String);
const envSchema = z
  .union([z.record(z.string(), scalar), z.array(z.record(z.string(), scalar))])
  .transform((env) => (Array.isArray(env) ? Object.assign({}, ...env) : env))
  .pipe(z.record(z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/), z.string()))
  .meta({ description: 'Variables for the command: an object, or a list of objects.' });

const cmdRunSchema = z.strictObject({
  name: z.string().min(1).meta({ description: 'The command, run as sh -c "…" on the server.' }),
  cwd: z.string().startsWith('/').optional().meta({
    description: 'Where it runs. Default: the deploy path if it exists, else the home of the user.',
  }),
  env: envSchema.optional(),
  runas: z
    .string()
    .regex(/^[A-Za-z_][A-Za-z0-9_.-]*\$?$/)
    .optional()
    .meta({ description: 'The user that runs it. Default: the user of the connection.' }),
  unless: z.string().min(1).optional().meta({ description: 'Not run if this command succeeds.' }),
  onlyif: z.string().min(1).optional().meta({ description: 'Run only if this command succeeds.' }),
  creates: z.string().startsWith('/').optional().meta({
    description: 'Not run if this path exists.',
  }),
  timeout: z.coerce.number().int().min(1).max(86_400).default(300).meta({
    description: 'Seconds until the command and all that it started are ended. Default 300.',
  }),
});

/**
 * Salt's `cmd.run`. The command is the operator's own shell text: the one place where a string of the user's is
 * given to a shell, on purpose. It reaches that shell as one argument.
 */
export const cmdRun = defineStateFunction({
  schema: cmdRunSchema,
  build: (args, context) =>
    defineScript({
      name: 'cmd.run',
      text: TEXT,
      args: [
        context.path,
        args.name,
        args.cwd === undefined ? '' : context.pathOn(args.cwd),
        args.runas ?? '',
        args.unless ?? '',
        args.onlyif ?? '',
        args.creates === undefined ? '' : context.pathOn(args.creates),
        `${args.timeout}`,
        ...Object.entries(args.env ?? {}).map(([name, value]) => `${name}=${value}`),
      ],
    }),
});

const TEXT = String.raw`${SHELL_PRELUDE}
path=$1 name=$2 cwd=$3 runas=$4 unless=$5 onlyif=$6 creates=$7 timeout=$8
shift 8

if [ -n "$cwd" ]; then
  cd "$cwd" 2>/dev/null || fail action_failed "The folder $cwd does not exist on this server; give another cwd."
elif [ -d "$path" ]; then
  cd "$path" || fail action_failed "The folder $path cannot be entered; check its permissions."
else
  cd || cd /
fi

# In a process group of its own, so that the end of the command is the end of all that it started.
if command -v setsid >/dev/null 2>&1; then apart=setsid; else apart=; fi

# as_user COMMAND…: as "runas", with that user's home. setpriv only execs; runuser and su stay and watch.
as_user() {
  if [ -z "$runas" ] || [ "$runas" = "$(id -un)" ]; then
    exec $apart "$@"
  elif [ "$(id -u)" != 0 ]; then
    exec $apart sudo -n -H -u "$runas" -- "$@"
  fi
  home=$(getent passwd "$runas" 2>/dev/null | cut -d : -f 6)
  [ -n "$home" ] || home=$(grep "^$runas:" /etc/passwd | cut -d : -f 6)
  HOME=$home USER=$runas LOGNAME=$runas
  export HOME USER LOGNAME
  group=$(id -g "$runas")
  ! setpriv --reuid "$runas" --regid "$group" --init-groups true 2>/dev/null ||
    exec $apart setpriv --reuid "$runas" --regid "$group" --init-groups "$@"
  ! command -v runuser >/dev/null 2>&1 || exec $apart runuser -u "$runas" -- "$@"
  exec $apart su -s /bin/sh -c 'exec "$@"' "$runas" muster "$@"
}

[ -z "$runas" ] || id -u "$runas" >/dev/null 2>&1 ||
  fail action_failed "The user $runas does not exist on this server; make it or give another runas."

child= watch=
clean_up() {
  [ -z "$watch" ] || signal_group KILL "$watch"
  [ -z "$child" ] || { signal_group TERM "$child" && sleep 1 && signal_group KILL "$child"; }
  rm -f "$expired"
}
expired=$(mktemp) || fail action_failed 'No temporary file can be made on this server; check the disk.'

# run_bounded COMMAND ENVIRONMENT…: its exit status; "expired" is not empty if its time was up.
run_bounded() {
  command=$1
  shift
  (as_user env "$@" sh -c "$command") </dev/null 3>&- &
  child=$!
  $apart sh -c 'sleep "$1"; echo expired >"$2"; kill -TERM "-$3" || kill -TERM "$3"; sleep 5; kill -KILL "-$3"' \
    muster "$timeout" "$expired" "$child" </dev/null >/dev/null 2>&1 3>&- &
  watch=$!
  wait "$child"
  status=$?
  child=
  # Waited for in silence, as bash else tells of every process that is killed.
  { signal_group KILL "$watch"; wait "$watch"; } 2>/dev/null
  watch=
  return "$status"
}

# tell STATE EXIT-CODE: the line end first, as the command's output may have none.
tell() {
  echo >&3
  answer ",\"state\":\"$1\",\"exitCode\":$2,\"timedOut\":$3"
}

if [ -n "$creates" ] && { [ -e "$creates" ] || [ -L "$creates" ]; }; then tell unchanged null false; fi
if [ -n "$onlyif" ]; then run_bounded "$onlyif" "$@" >/dev/null 2>&1 || tell unchanged null false; fi
if [ -n "$unless" ]; then ! run_bounded "$unless" "$@" >/dev/null 2>&1 || tell unchanged null false; fi
: >"$expired"
run_bounded "$name" "$@" >&3
status=$?
if [ -s "$expired" ]; then tell failed "$status" true; fi
if [ "$status" -eq 0 ]; then tell changed 0 false; else tell failed "$status" false; fi
`;
