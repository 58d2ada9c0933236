import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createTransport } from '../../../src/transport/transport.ts';
import { findProgram } from '../../support/parts.ts';
import { availableShells, failureOf } from '../scripts/clone-lab.ts';
import { requireSshFleet, type SshLab, startSshLab } from '../ssh-lab.ts';
import { makeStateLab, type StateLab } from './state-lab.ts';

// What is installed is in files of /srv/installed, whose text is the version; /srv/repository says what there is.
const INSTALL = `install() {
  [ -e "/srv/repository/$1" ] || { echo "no such package: $1"; exit 100; }
  echo "$2" >"/srv/installed/$1"
}
`;

/** apt-get as apt-get(8) has it. */
const APT_GET = `#!/bin/sh
echo "apt-get $*" >>/srv/calls
${INSTALL}
[ "$DEBIAN_FRONTEND" = noninteractive ] || [ "$*" != "update" ] || exit 1
while [ "$1" != -- ]; do
  case $1 in
    install | remove) verb=$1 ;;
    update) [ ! -e /srv/offline ]; exit ;;
  esac
  shift
done
shift
for spec in "$@"; do
  name=$(echo "$spec" | cut -d = -f 1) version=$(echo "$spec" | cut -s -d = -f 2)
  case $verb in
    install) install "$name" "$(echo "$version" | grep . || cat "/srv/repository/$name")" ;;
    remove) rm "/srv/installed/$name" ;;
  esac
done
`;

/** dpkg-query as dpkg-query(1) has it, for the one format that is asked for. */
const DPKG_QUERY = `#!/bin/sh
[ "$1 $2" = "-W -f" ] || exit 2
case $4 in residue) echo "config-files 1.0"; exit 0 ;; esac
cat "/srv/installed/$4" >/dev/null 2>&1 || { echo "dpkg-query: no packages found matching $4" >&2; exit 1; }
echo "installed $(cat "/srv/installed/$4")"
`;

/** dnf and yum as dnf(8) has them. */
const DNF = `#!/bin/sh
echo "$(basename "$0") $*" >>/srv/calls
${INSTALL}
case "$1 $2" in
  '-q clean') [ ! -e /srv/offline ]; exit ;;
  '-y install') verb=install ;;
  '-y remove') verb=remove ;;
  *) exit 2 ;;
esac
shift 3
for spec in "$@"; do
  name=$(echo "$spec" | sed 's/-[0-9].*//') version=$(echo "$spec" | sed -n 's/^[^-]*-//p')
  case $verb in
    install) install "$name" "$(echo "$version" | grep . || cat "/srv/repository/$name")" ;;
    remove) rm "/srv/installed/$name" ;;
  esac
done
`;

/** rpm as rpm(8) has it: the format's \\n are given as they are. */
const RPM = `#!/bin/sh
[ "$1 $2" = "-q --qf" ] || exit 2
cat "/srv/installed/$4" >/dev/null 2>&1 || { echo "package $4 is not installed"; exit 1; }
version=$(cat "/srv/installed/$4")
printf '%s\\n' "$version" "$version-1.el9" "0:$version-1.el9"
`;

/** apk as apk(8) has it. */
const APK = `#!/bin/sh
echo "apk $*" >>/srv/calls
${INSTALL}
verb=$1
shift
case $verb in
  update) [ ! -e /srv/offline ]; exit ;;
  info)
    name=$(echo "$2" | cut -d = -f 1) version=$(echo "$2" | cut -s -d = -f 2)
    [ -e "/srv/installed/$name" ] && { [ -z "$version" ] || [ "$version" = "$(cat "/srv/installed/$name")" ]; }
    exit ;;
esac
[ "$1" = -- ] || exit 2
shift
for spec in "$@"; do
  name=$(echo "$spec" | cut -d = -f 1) version=$(echo "$spec" | cut -s -d = -f 2)
  case $verb in
    add) install "$name" "$(echo "$version" | grep . || cat "/srv/repository/$name")" ;;
    del) rm "/srv/installed/$name" ;;
  esac
done
`;

const MANAGERS = [
  {
    manager: 'apt-get',
    programs: { 'apt-get': APT_GET, 'dpkg-query': DPKG_QUERY },
    verb: /install/,
  },
  { manager: 'dnf', programs: { dnf: DNF, rpm: RPM }, verb: /install/ },
  { manager: 'yum', programs: { yum: DNF, rpm: RPM }, verb: /install/ },
  { manager: 'apk', programs: { apk: APK }, verb: /add/ },
];

/** What the programs above and the scripts need; nothing else is there, least of all this machine's own tools. */
const TOOLS = 'sh cat cut sed grep tr id env echo basename rm printf sleep'.split(' ');

const canRun = await requireSshFleet();
const shells = (await availableShells()).map((argv) => ({ shell: argv.join(' '), argv }));

/** A busybox may take its own rpm before the one in PATH; no server with dnf or yum has it as its sh. */
function shellsFor(manager: string): typeof shells {
  const isRpm = manager === 'dnf' || manager === 'yum';
  return shells.filter(({ shell }) => !isRpm || !shell.includes('busybox'));
}

describe.skipIf(!canRun)('packages', () => {
  const transport = createTransport();
  let ssh: SshLab;
  beforeAll(async () => {
    ssh = await startSshLab(['web01']);
    for (const { manager, programs } of MANAGERS) {
      const bin = `/opt/${manager}`;
      await inspect(
        `mkdir -p ${bin}; for t in ${TOOLS.join(' ')}; do ln -s "$(command -v $t)" ${bin}/; done`,
      );
      for (const [name, text] of Object.entries(programs)) {
        const write = 'rm -f "$1"; printf %s "$2" >"$1"; chmod 755 "$1"';
        await inspect(['sh', '-c', write, '', `${bin}/${name}`, text]);
      }
    }
  });
  beforeEach(async () => {
    await inspect(`rm -rf /srv/*; mkdir /srv/installed /srv/repository; touch /srv/calls
      echo 1.0 >/srv/repository/web; echo 2.0 >/srv/repository/db; echo 2.0 >/srv/repository/old; echo 1.9 >/srv/installed/old`);
  });
  afterAll(async () => {
    await transport.close();
    await ssh.close();
  });

  async function inspect(command: string | readonly string[]): Promise<string> {
    const ended = await ssh.fleet.inspect('web01', command);
    if (ended.exitCode !== 0) throw new Error(ended.stderr);
    return ended.stdout;
  }
  const calls = async (): Promise<string> => await inspect('grep -v "^apk info" /srv/calls || :');

  /** `path` is a folder of programs; the script's own additions to PATH are shadowed by what is in it. */
  async function labOn(path: string, shell: readonly string[] = []): Promise<StateLab> {
    const connection = await transport.connect(ssh.target('web01'));
    return makeStateLab(connection, { isLocal: false, path, shell });
  }

  describe.each(MANAGERS)('by $manager', ({ manager, verb }) => {
    let lab: StateLab;
    beforeEach(async () => {
      lab = await labOn(`/opt/${manager}`);
    });

    it('are installed once and removed once, all in one call', async () => {
      const installed = { it: { pkg: ['installed', { pkgs: ['web', 'old', 'db'] }] } };
      expect(await lab.run(installed)).toMatchObject({
        answer: { state: 'changed' },
        output: expect.stringContaining('Installed: web db.'),
      });
      expect((await calls()).split('\n').filter((call) => verb.test(call))).toEqual([
        expect.stringMatching(/ -- web db$/),
      ]);
      await inspect('rm /srv/calls');
      expect(await lab.state(installed)).toBe('unchanged');
      const removed = { it: { pkg: ['removed', { pkgs: ['db', 'nothing', 'old'] }] } };
      expect(await lab.run(removed)).toMatchObject({
        answer: { state: 'changed' },
        output: expect.stringContaining('Removed: db old.'),
      });
      expect(await inspect('ls /srv/installed')).toBe('web\n');
      await inspect('rm /srv/calls; touch /srv/calls');
      expect(await lab.state(removed)).toBe('unchanged');
      expect(await calls()).toBe('');
    });

    it('are brought to the version that is asked for, and to no other if none is', async () => {
      const version = { old: { pkg: ['installed', { version: '1.8' }] } };
      expect([await lab.state(version), await lab.state(version)]).toEqual([
        'changed',
        'unchanged',
      ]);
      expect(await inspect('cat /srv/installed/old')).toBe('1.8\n');
      expect(await lab.state({ old: { pkg: ['installed'] } })).toBe('unchanged');
    });

    it('fail with the exit code and words of the package manager', async () => {
      expect(await lab.run({ nothing: { pkg: ['installed'] } })).toMatchObject({
        answer: { state: 'failed', exitCode: 100 },
        output: expect.stringContaining('no such package: nothing'),
      });
    });

    it('are installed from old lists if there are no new ones, unless those are asked for', async () => {
      await inspect('touch /srv/offline');
      const error = await failureOf(lab.run({ web: { pkg: ['installed', { refresh: true }] } }));
      expect(error.message).toContain('The lists of packages cannot be fetched');
      expect(await lab.state({ web: { pkg: ['installed'] } })).toBe('changed');
      expect(await lab.state({ web: { pkg: ['installed', { refresh: true }] } })).toBe('unchanged');
    });

    it('are installed without new lists if those are not wanted', async () => {
      expect(await lab.state({ web: { pkg: ['installed', { refresh: false }] } })).toBe('changed');
      expect(await calls()).not.toMatch(/update|clean/);
    });

    it.each(shellsFor(manager))('come and go under $shell', async ({ argv }) => {
      const under = await labOn(`/opt/${manager}`, argv);
      const form = (word: string): unknown => ({ web: { pkg: [word] } });
      expect([
        await under.state(form('installed')),
        await under.state(form('installed')),
        await under.state(form('removed')),
        await under.state(form('removed')),
      ]).toEqual(['changed', 'unchanged', 'changed', 'unchanged']);
    });
  });

  it('by apt of which only the configuration is left are not installed', async () => {
    const lab = await labOn('/opt/apt-get');
    expect(await lab.state({ residue: { pkg: ['removed'] } })).toBe('unchanged');
  });

  describe.skipIf(findProgram('dpkg-query') === undefined)(
    'of this Debian, as it says itself',
    () => {
      it('are seen to be there, in their version, and not to be there', async () => {
        const lab = await labOn('/usr/bin:/bin');
        const version = (await inspect("dpkg-query -W -f '$" + "{Version}' bash")).trim();
        for (const form of [
          { bash: { pkg: ['installed'] } },
          { bash: { pkg: ['installed', { version }] } },
          { it: { pkg: ['installed', { pkgs: ['bash', 'coreutils'] }] } },
          { 'no-such-package-at-all': { pkg: ['removed'] } },
        ]) {
          expect(await lab.state(form), JSON.stringify(form)).toBe('unchanged');
        }
      });

      it('are asked for in words that the real apt-get takes', async () => {
        await inspect(`mkdir -p /opt/dry && printf '#!/bin/sh\nexec /usr/bin/apt-get -s "$@"\n' >/opt/dry/apt-get &&
        chmod 755 /opt/dry/apt-get`);
        const lab = await labOn('/opt/dry:/usr/bin:/bin');
        // A dot makes a name a pattern for apt-get, unless it is told otherwise: this one would be half of Debian.
        const { answer, output } = await lab.run({
          'l.b': { pkg: ['installed', { refresh: false }] },
        });
        expect(answer).toMatchObject({ state: 'failed', exitCode: 100 });
        expect(output).toContain('Unable to locate package l.b');
      });
    },
  );
});
