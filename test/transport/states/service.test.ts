import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { AppError } from '../../../src/domain/errors.ts';
import { createTransport } from '../../../src/transport/transport.ts';
import { findProgram } from '../../support/parts.ts';
import { availableShells, failureOf } from '../scripts/clone-lab.ts';
import { requireSshFleet, type SshLab, startSshLab } from '../ssh-lab.ts';
import { makeStateLab, type StateLab } from './state-lab.ts';

/** Every server has its own /etc, so that the real tools that enable services can be used. */
const OWN_ETC = `
  cp -a /etc /run/etc && mount --bind /run/etc /etc && mount -t tmpfs tmpfs /var/lib/systemd
  mkdir -p /opt/bin /srv/units`;

/** Runs /srv/daemon as a service of long ago does: its output stays that of whoever started it. */
const SYSV_SCRIPT = `#!/bin/sh
### BEGIN INIT INFO
# Provides: demo
# Required-Start:
# Required-Stop:
# Default-Start: 2 3 4 5
# Default-Stop: 0 1 6
### END INIT INFO
pid=$(cat /srv/demo.pid 2>/dev/null)
case $1 in
  start)
    echo "Starting demo"
    [ ! -e /srv/broken ] || { echo "no such configuration"; exit 6; }
    [ ! -e /srv/crashes ] || exit 0
    sleep 1000 & echo $! >/srv/demo.pid ;;
  stop) echo "Stopping demo"; (sleep 1; kill "$pid"; rm /srv/demo.pid) & ;;
  status) [ -n "$pid" ] && kill -0 "$pid" ;;
esac
`;

/** systemctl as systemctl(1) has it: what runs is in files, and what is enabled is the real one's work. */
const SYSTEMCTL = `#!/bin/sh
echo "$*" >>/srv/calls
[ "$1" != --no-ask-password ] || shift
verb=$1 unit=$2
case $verb in
  enable | disable | is-enabled) SYSTEMD_OFFLINE=1 exec /usr/bin/systemctl "$verb" "$unit" ;;
  status) echo "the last lines of its journal"; exit 3 ;;
esac
[ -e "/etc/systemd/system/$unit.service" ] || {
  case $verb in is-active) echo inactive; exit 4 ;; esac
  echo "Failed to $verb $unit.service: Unit $unit.service not found."; exit 5
}
case $verb in
  is-active) cat "/srv/units/$unit" 2>/dev/null || { echo inactive; exit 3; }; grep -qx active "/srv/units/$unit" ;;
  start)
    [ ! -e /srv/broken ] || { echo "Job for $unit.service failed."; echo failed >"/srv/units/$unit"; exit 1; }
    [ ! -e /srv/crashes ] || { echo failed >"/srv/units/$unit"; exit 0; }
    echo active >"/srv/units/$unit" ;;
  stop) rm "/srv/units/$unit" ;;
esac
`;

/** rc-service as rc-service(8) has it; the status codes are those of rc_service_state in OpenRC's rc.h. */
const RC_SERVICE = `#!/bin/sh
echo "$*" >>/srv/calls
[ "$1" = demo ] || { echo "rc-service: service '$1' does not exist"; exit 1; }
case $2 in
  status) [ ! -e /srv/crashed ] || exit 32; [ -e /srv/units/demo ] || exit 3 ;;
  start)
    [ ! -e /srv/broken ] || { echo " * ERROR: demo failed to start"; exit 1; }
    [ ! -e /srv/crashed ] || { echo " * WARNING: demo has already been started"; exit 0; }
    [ -e /srv/crashes ] || touch /srv/units/demo ;;
  restart) rm -f /srv/crashed; touch /srv/units/demo ;;
  stop) rm -f /srv/units/demo /srv/crashed ;;
esac
`;

/** rc-update as rc-update(8) has it. */
const RC_UPDATE = `#!/bin/sh
echo "rc-update $*" >>/srv/calls
case "$*" in
  show) cat /srv/runlevels ;;
  "add demo default") echo "                demo |      default" >>/srv/runlevels ;;
  "-a del demo") sed -i '/ demo |/d' /srv/runlevels ;;
  *) echo "unexpected: $*"; exit 1 ;;
esac
`;

const UNIT = `[Service]
ExecStart=/bin/sleep 1000
[Install]
WantedBy=multi-user.target
`;

const INIT_SYSTEMS: readonly {
  name: string;
  files: Readonly<Record<string, string>>;
  setUp: string;
  missing: string | undefined;
}[] = [
  {
    name: 'systemd',
    files: {
      '/opt/bin/systemctl': SYSTEMCTL,
      '/etc/systemd/system/demo.service': UNIT,
      '/etc/systemd/system/fixed.service': '[Service]\nExecStart=/bin/true\n',
    },
    setUp: 'mkdir -p /run/systemd/system',
    missing: findProgram('systemctl') === undefined ? 'systemctl' : undefined,
  },
  {
    name: 'OpenRC',
    files: { '/opt/bin/rc-service': RC_SERVICE, '/opt/bin/rc-update': RC_UPDATE },
    setUp: 'echo "              sshd |      default" >/srv/runlevels',
    missing: undefined,
  },
  {
    name: 'sysvinit',
    files: { '/etc/init.d/demo': SYSV_SCRIPT },
    setUp: ':',
    missing: findProgram('update-rc.d') === undefined ? 'update-rc.d' : undefined,
  },
];

const canRun = await requireSshFleet();
const shells = await availableShells();

describe.skipIf(!canRun)('services', () => {
  const transport = createTransport();
  let ssh: SshLab;
  beforeAll(async () => {
    ssh = await startSshLab(INIT_SYSTEMS.map(({ name }) => name));
    for (const { name, files, setUp } of INIT_SYSTEMS) {
      await inspect(name, OWN_ETC);
      for (const [path, text] of Object.entries(files)) {
        await inspect(name, ['sh', '-c', 'printf %s "$2" >"$1"; chmod 755 "$1"', '', path, text]);
      }
      await inspect(name, setUp);
    }
  });
  afterAll(async () => {
    await transport.close();
    await ssh.close();
  });

  async function inspect(name: string, command: string | readonly string[]): Promise<string> {
    const ended = await ssh.fleet.inspect(name, command);
    if (ended.exitCode !== 0) throw new Error(ended.stderr);
    return ended.stdout;
  }

  async function labOn(name: string, shell: readonly string[] = []): Promise<StateLab> {
    const connection = await transport.connect(ssh.target(name));
    return makeStateLab(connection, {
      isLocal: false,
      path: '/opt/bin:/usr/sbin:/usr/bin:/sbin:/bin',
      shell,
    });
  }

  const running = (more: object = {}): unknown => ({
    start_it: { service: [{ name: 'demo' }, more, 'running'] },
  });
  const dead = (more: object = {}): unknown => ({
    stop_it: { service: [{ name: 'demo' }, more, 'dead'] },
  });
  const enabled = { demo: { service: ['enabled'] } };
  const disabled = { demo: { service: ['disabled'] } };

  describe.each(INIT_SYSTEMS.filter(({ missing }) => missing === undefined))(
    'of $name',
    ({ name }) => {
      let lab: StateLab;
      beforeEach(async () => {
        lab = await labOn(name);
        await inspect(name, 'rm -f /srv/broken /srv/crashes /srv/crashed /srv/calls');
        await lab.run(dead({ enable: false }));
      });

      it('are started once and stopped once', async () => {
        expect(await lab.run(running())).toMatchObject({
          answer: { state: 'changed' },
          output: expect.stringContaining(`demo has been started (${name}).`),
        });
        expect(await lab.state(running())).toBe('unchanged');
        expect(await lab.run(dead())).toMatchObject({
          answer: { state: 'changed' },
          output: expect.stringContaining(`demo has been stopped (${name}).`),
        });
        expect(await lab.state(dead())).toBe('unchanged');
      });

      it('are enabled once and disabled once, and neither started nor stopped by that', async () => {
        expect([await lab.state(enabled), await lab.state(enabled)]).toEqual([
          'changed',
          'unchanged',
        ]);
        expect(await lab.state(dead())).toBe('unchanged');
        await lab.run(running());
        expect([await lab.state(disabled), await lab.state(disabled)]).toEqual([
          'changed',
          'unchanged',
        ]);
        expect(await lab.state(running())).toBe('unchanged');
      });

      it('are started and enabled in one state, each only if it is needed', async () => {
        expect(await lab.state(running({ enable: true }))).toBe('changed');
        expect(await lab.state(running({ enable: true }))).toBe('unchanged');
        expect(await lab.state(enabled)).toBe('unchanged');
        await lab.run(dead());
        const { output } = await lab.run(running({ enable: true }));
        expect(output).toContain('demo has been started');
        expect(output).toContain('demo starts with the server.');
      });

      it('fail with what the service said if it does not start', async () => {
        await inspect(name, 'touch /srv/broken');
        const { answer, output } = await lab.run(running());
        expect(answer).toMatchObject({ state: 'failed', exitCode: expect.any(Number) });
        expect(output).toMatch(/failed|no such configuration/);
      });

      it('fail if the service was started but does not run', async () => {
        await inspect(name, 'touch /srv/crashes');
        const error = await failureOf(lab.run(running()));
        expect(error.code).toBe('action_failed');
        expect(error.message).toContain('was started on this server but does not run');
      });

      it('that do not exist are dead and disabled, and cannot be started or enabled', async () => {
        for (const word of ['dead', 'disabled']) {
          expect(await lab.state({ nothing: { service: [word] } }), word).toBe('unchanged');
        }
        for (const word of ['running', 'enabled']) {
          const ended = await lab.run({ nothing: { service: [word] } }).then(
            ({ answer }) => answer.state,
            (error: unknown) => (error instanceof AppError ? error.code : 'unexpected'),
          );
          expect(['failed', 'action_failed'], word).toContain(ended);
        }
      });

      it.each(shells.map((argv) => ({ shell: argv.join(' '), argv })))(
        'come up and go down under $shell',
        async ({ argv }) => {
          const under = await labOn(name, argv);
          expect([
            await under.state(running({ enable: true })),
            await under.state(running({ enable: true })),
            await under.state(dead({ enable: false })),
            await under.state(dead({ enable: false })),
          ]).toEqual(['changed', 'unchanged', 'changed', 'unchanged']);
        },
      );
    },
  );

  it('of systemd that are about to start again are not dead', async () => {
    const lab = await labOn('systemd');
    await inspect('systemd', 'rm -f /srv/broken /srv/crashes; echo activating >/srv/units/demo');
    expect([await lab.state(dead()), await lab.state(dead())]).toEqual(['changed', 'unchanged']);
  });

  it('of systemd that failed are dead already', async () => {
    const lab = await labOn('systemd');
    await inspect('systemd', 'echo failed >/srv/units/demo');
    expect(await lab.state(dead())).toBe('unchanged');
  });

  it('of systemd that only others start are left as they are', async () => {
    const lab = await labOn('systemd');
    expect(await lab.run({ fixed: { service: ['enabled'] } })).toMatchObject({
      answer: { state: 'unchanged' },
      output: expect.stringContaining('can be neither enabled nor disabled'),
    });
  });

  it('of OpenRC that crashed are restarted', async () => {
    const lab = await labOn('OpenRC');
    await inspect('OpenRC', 'rm -f /srv/broken /srv/crashes; touch /srv/units/demo /srv/crashed');
    expect([await lab.state(running()), await lab.state(running())]).toEqual([
      'changed',
      'unchanged',
    ]);
    expect(await inspect('OpenRC', 'cat /srv/calls')).toContain('demo restart\n');
  });

  it('of sysvinit keep neither the connection nor the answer open', async () => {
    const lab = await labOn('sysvinit');
    await inspect('sysvinit', 'rm -f /srv/broken /srv/crashes');
    await lab.run(dead());
    expect(await lab.state(running())).toBe('changed');
    const open = await inspect('sysvinit', 'ls -l /proc/$(cat /srv/demo.pid)/fd');
    expect(open).not.toMatch(/pipe:|socket:/);
  });
});
