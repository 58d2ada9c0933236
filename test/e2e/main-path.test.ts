import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type SshFleet, startSshFleet } from '../../scripts/fleet/ssh-fleet.ts';
import { type ApiClient, createApiClient } from '../support/api-client.ts';
import { packTarGz } from '../support/archive.ts';
import { type Mode, startMuster, type TestMuster } from '../support/muster.ts';
import { requirePart } from '../support/parts.ts';
import { makeTemporaryDirectory, type TemporaryDirectory } from '../support/temporary-directory.ts';

const PRODUCTION = ['web01', 'web02', 'web03', 'web04'];
const ALL = [...PRODUCTION, 'test01'];
const available = requirePart('sshd') && requirePart('redis-server') && process.getuid?.() === 0;

/** The files of a build; the version is in every file that changes with it. */
const filesOf = (version: string) => ({
  'bin/widgets': { executable: `#!/bin/sh\necho ${version}\n` },
  'bin/lib/current': { linkTo: '../widgets' },
  'bin/static.txt': 'the same in every build\n',
  'conf/main.xml': `<main>\n  <name>widgets</name>\n  <port>80</port>\n  <mode>a</mode>\n  <version>${version}</version>\n</main>\n`,
  'conf/a/b/deep ünïcode.xml': `<deep version="${version}"/>\n`,
  'README.md': 'in no package\n',
});

describe.skipIf(!available).each<Mode>(['embedded', 'distributed'])(
  'the main job in %s mode',
  (mode) => {
    let muster: TestMuster;
    let api: ApiClient;
    let fleet: SshFleet;
    let directory: TemporaryDirectory;

    const on = async (server: string, script: string): Promise<string> => {
      const { exitCode, stdout, stderr } = await fleet.inspect(server, script);
      expect({ server, script, exitCode, stderr }).toMatchObject({ exitCode: 0 });
      return stdout;
    };
    const census = async () => (await api('GET', '/app/widgetmakers/census')).body;
    const deploy = (build: string, options = '') =>
      api(
        'POST',
        `/app/widgetmakers/deployments?build_name=${build}&rolling_divisor=2&wait=120${options}`,
        { environments: ['production'], groups: ['WebFrontEnd'] },
      );
    const upload = async (build: string, version: string): Promise<void> => {
      expect((await api('PUT', `/app/widgetmakers/builds?build_name=${build}`)).status).toBe(201);
      const stored = await api(
        'POST',
        `/app/widgetmakers/builds/${build}?file_type=tar.gz&package_map=split&wait=60`,
        await packTarGz(filesOf(version)),
      );
      expect(stored).toMatchObject({ status: 200, body: { state: 'stored' } });
    };
    const leaf = (committed: string | null, deployed: string | null) => ({ committed, deployed });
    const both = (committed: string | null, deployed: string | null) => ({
      Configuration: leaf(committed, deployed),
      WebApplication: leaf(committed, deployed),
    });

    beforeAll(async () => {
      directory = await makeTemporaryDirectory();
      muster = await startMuster(mode);
      api = (...call) => createApiClient(muster)(...call);
      const keypair = await api('PUT', '/global/keypairs?name=kp1&generate=true');
      expect(keypair.status).toBe(201);
      expect(JSON.stringify(keypair.body)).not.toContain('PRIVATE');
      fleet = await startSshFleet({
        names: ALL,
        directory: directory.path,
        authorizedKeys: [keypair.body.public_key],
      });
    });
    afterAll(async () => {
      await fleet.close();
      await muster.close();
      await directory.remove();
    });

    it('makes the application, servers, gitrepos, gitdeploys and the group', async () => {
      expect((await api('PUT', '/app?app_name=widgetmakers')).status).toBe(201);
      for (const { name, host, port, hostKey } of fleet.servers) {
        const environment = name === 'test01' ? 'testing' : 'production';
        const connection = { kind: 'ssh', host, port, user: 'root', keypair: 'kp1' };
        const created = await api('PUT', `/server?name=${name}&environment=${environment}`, {
          // One server's key is not given: the first connection pins it.
          connection: name === 'web04' ? connection : { ...connection, host_key: hostKey },
        });
        expect(created.status).toBe(201);
      }
      expect((await api('GET', '/server/environments')).body).toEqual({
        environments: { production: PRODUCTION, testing: ['test01'] },
      });
      for (const name of ['configs', 'binaries']) {
        const created = await api('PUT', `/app/widgetmakers/gitrepos?name=${name}&wait=30`);
        expect(created).toMatchObject({ status: 200, body: { committed_build: null } });
      }
      const packages = {
        binaries: { patterns: ['bin/**/*'] },
        configs: { patterns: ['conf/**/*.xml'], prefix: 'app-config/' },
      };
      expect(
        (await api('PUT', '/app/widgetmakers/packagemaps?name=split', { packages })).status,
      ).toBe(201);
      const location = (path: string, gitrepo: string) => ({
        path,
        gitrepo,
        default_branch: 'master',
      });
      const configuration = {
        package: 'configs',
        location: location('/opt/widgets-config', 'configs'),
        options: { gitignore: ['*.local'] },
      };
      const application = {
        package: 'binaries',
        location: location('/opt/widgets', 'binaries'),
        actions: {
          prepull: { note: { 'cmd.run': [{ name: 'echo before >> /opt/actions.log' }] } },
          postpull: {
            note: { cmd: [{ name: 'echo after >> /opt/actions.log; ./bin/widgets' }, 'run'] },
          },
        },
      };
      expect(
        (await api('PUT', '/app/widgetmakers/gitdeploys?name=Configuration', configuration)).status,
      ).toBe(201);
      expect(
        (await api('PUT', '/app/widgetmakers/gitdeploys?name=WebApplication', application)).status,
      ).toBe(201);
      const group = await api(
        'PUT',
        '/app/widgetmakers/groups?name=WebFrontEnd&rolling_deploy=true',
        {
          gitdeploys: [['Configuration'], ['WebApplication']],
        },
      );
      expect(group.status).toBe(201);
    });

    it('initializes clones that are empty, and pins the host key that was not given', async () => {
      for (const name of ['Configuration', 'WebApplication']) {
        const done = await api(
          'POST',
          `/app/widgetmakers/gitdeploys/${name}?initialize=true&wait=60`,
          { servers: ALL },
        );
        expect(done.status).toBe(200);
        const again = await api(
          'POST',
          `/app/widgetmakers/gitdeploy/${name}?initialize=true&wait=60`,
          {
            servers: 'web0*',
          },
        );
        expect(again.status).toBe(200);
      }
      expect(await on('web01', 'ls -A /opt/widgets')).toBe('.git\n');
      const [web04] = fleet.servers.filter((s) => s.name === 'web04');
      const shown = await api('GET', '/server/web04');
      expect(shown.body.connection.host_key).toBe(web04?.hostKey);
      const group = await api(
        'GET',
        '/app/widgetmakers/groups/WebFrontEnd?environments=production+testing',
      );
      expect(group.body.servers).toEqual(['test01', ...PRODUCTION]);
      expect(await census()).toMatchObject({
        production: { WebFrontEnd: { web01: both(null, null) } },
        testing: { WebFrontEnd: { test01: both(null, null) } },
      });
    });

    it('takes a build as a form field and cuts its packages', async () => {
      expect((await api('PUT', '/app/widgetmakers/builds?build_name=1-master')).status).toBe(201);
      const form = new FormData();
      form.append(
        'build',
        new Blob([new Uint8Array(await packTarGz(filesOf('1')))]),
        'build.tar.gz',
      );
      const stored = await api(
        'POST',
        '/app/widgetmakers/builds/1-master?file_type=tar.gz&package_map=split&wait=60',
        form,
      );
      expect(stored).toMatchObject({
        status: 200,
        body: {
          state: 'stored',
          packages: { master: { files: 6 }, binaries: { files: 3 }, configs: { files: 2 } },
        },
      });
    });

    it('shows the plan and the file changes of a dry run and writes nothing', async () => {
      const plan = await api(
        'POST',
        '/app/widgetmakers/deployments?build_name=1-master&dry_run=true',
        { environments: ['production'], groups: ['WebFrontEnd'] },
      );
      expect(plan.status).toBe(200);
      expect(plan.body.batches).toHaveLength(4);
      expect((await api('GET', '/app/widgetmakers/deployments')).body.deployments).toEqual([]);
      expect(await census()).toMatchObject({
        production: { WebFrontEnd: { web01: both(null, null) } },
      });
    });

    it('rolls the build out in ordered, rolling batches', async () => {
      const done = await deploy('1-master', '&ordered_pause=1');
      expect(done).toMatchObject({ status: 200, body: { status: 'succeeded' } });
      const { batches } = done.body;
      const pairs = batches.map((b: { steps: { server: string; gitdeploy: string }[] }) =>
        b.steps.map((s) => `${s.server} ${s.gitdeploy}`),
      );
      expect(pairs).toEqual([
        ['web01 Configuration', 'web02 Configuration'],
        ['web01 WebApplication', 'web02 WebApplication'],
        ['web03 Configuration', 'web04 Configuration'],
        ['web03 WebApplication', 'web04 WebApplication'],
      ]);
      expect(batches.map((b: { ordered: boolean }) => b.ordered)).toEqual([
        true,
        false,
        true,
        false,
      ]);
      for (const [before, after] of [
        [0, 1],
        [1, 2],
        [2, 3],
      ] as const) {
        const gapMs =
          Date.parse(batches[after].started_at) - Date.parse(batches[before].finished_at);
        expect(gapMs).toBeGreaterThanOrEqual(batches[before].pause_after * 1000);
      }
      for (const server of PRODUCTION) {
        expect(
          await on(
            server,
            'cd /opt/widgets && find . -path ./.git -prune -o ! -type d -print | sort',
          ),
        ).toBe('./bin/lib/current\n./bin/static.txt\n./bin/widgets\n');
        expect(await on(server, '/opt/widgets/bin/lib/current')).toBe('1\n');
        expect(
          await on(server, 'cat "/opt/widgets-config/app-config/conf/a/b/deep ünïcode.xml"'),
        ).toBe('<deep version="1"/>\n');
        expect(await on(server, 'cat /opt/actions.log')).toBe('before\nafter\n');
        expect(
          await on(server, 'stat -c %A /opt/widgets/bin/widgets /opt/widgets/bin/static.txt'),
        ).toBe('-rwxr-xr-x\n-rw-r--r--\n');
        expect(await on(server, 'git -C /opt/widgets log --format=%s')).toBe(
          '1-master\nBegin binaries\n',
        );
        expect(await on(server, 'git -C /opt/widgets status --porcelain')).toBe('');
      }
      expect(await census()).toMatchObject({
        production: Object.fromEntries([
          [
            'WebFrontEnd',
            Object.fromEntries(PRODUCTION.map((s) => [s, both('1-master', '1-master')])),
          ],
        ]),
        testing: { WebFrontEnd: { test01: both('1-master', null) } },
      });
    });

    it('keeps what was changed by hand on a server', async () => {
      await on(
        'web01',
        `cd /opt/widgets-config && sed -i 's/<port>80</<port>8080</' app-config/conf/main.xml && echo mine > notes.txt && echo secret > x.local`,
      );
      await upload('2-master', '2');
      expect((await deploy('2-master')).body.status).toBe('succeeded');
      const main = await on('web01', 'cat /opt/widgets-config/app-config/conf/main.xml');
      expect(main).toContain('<port>8080<');
      expect(main).toContain('<version>2<');
      expect(await on('web01', 'cd /opt/widgets-config && cat notes.txt x.local')).toBe(
        'mine\nsecret\n',
      );
      expect(await on('web01', 'git -C /opt/widgets-config status --porcelain')).toBe(
        '?? notes.txt\n',
      );
      expect(await on('web02', 'cat /opt/widgets-config/app-config/conf/main.xml')).toContain(
        '<port>80<',
      );
      expect(await census()).toMatchObject({
        production: { WebFrontEnd: { web01: both('2-master', '2-master') } },
        testing: { WebFrontEnd: { test01: both('2-master', null) } },
      });
    });

    it('tells the truth after a deployment that failed on one server', async () => {
      // A file that the build changes was removed by hand: no merge can resolve that.
      await on('web03', 'rm /opt/widgets-config/app-config/conf/main.xml');
      await upload('3-master', '3');
      const failed = await deploy('3-master');
      expect(failed).toMatchObject({ status: 409, body: { error: { code: 'deployment_failed' } } });
      const { deployment_id: id } = failed.body.error.details;
      const shown = (await api('GET', `/app/widgetmakers/deployments/${id}`)).body;
      expect(shown.status).toBe('failed');
      expect(shown.batches.map((b: { status: string }) => b.status)).toEqual([
        'succeeded',
        'succeeded',
        'failed',
        'skipped',
      ]);
      const [step] = shown.batches[2].steps;
      expect(step).toMatchObject({
        server: 'web03',
        status: 'failed',
        error: { code: 'merge_failed', details: { files: ['app-config/conf/main.xml'] } },
      });
      expect(await on('web03', 'cd /opt/widgets-config && git status --porcelain')).toBe(
        ' D app-config/conf/main.xml\n',
      );
      const details = await api('GET', '/app/widgetmakers/census?details=true&server=web03');
      expect(details.body.production.WebFrontEnd.web03.Configuration.drift).toBe('modified');
      expect(await census()).toMatchObject({
        production: {
          WebFrontEnd: {
            web01: both('3-master', '3-master'),
            web02: both('3-master', '3-master'),
            web03: both('3-master', '2-master'),
            web04: {
              Configuration: leaf('3-master', '3-master'),
              WebApplication: leaf('3-master', '2-master'),
            },
          },
        },
      });
    });

    it('puts a server back to the build it had when its postpull fails', async () => {
      const actions = { postpull: { broken: { cmd: [{ name: 'exit 7' }, 'run'] } } };
      await on('web03', 'git -C /opt/widgets-config checkout -q .');
      const before = await on('web03', 'cd /opt/widgets && git rev-parse HEAD && cat bin/widgets');
      expect(
        (await api('PATCH', '/app/widgetmakers/gitdeploys/WebApplication', { actions })).status,
      ).toBe(200);
      const failed = await api(
        'POST',
        '/app/widgetmakers/deployments?build_name=3-master&wait=60',
        { servers: ['web03'], gitdeploys: ['WebApplication'] },
      );
      expect(failed.body.error.details.failed_steps[0].error.code).toBe('action_failed');
      expect(await on('web03', 'cd /opt/widgets && git rev-parse HEAD && cat bin/widgets')).toBe(
        before,
      );
      expect(await on('web03', 'git -C /opt/widgets status --porcelain')).toBe('');
      expect(await census()).toMatchObject({
        production: { WebFrontEnd: { web03: { WebApplication: leaf('3-master', '2-master') } } },
      });
      expect(
        (await api('PATCH', '/app/widgetmakers/gitdeploys/WebApplication', { actions: {} })).status,
      ).toBe(200);
    });

    it('fails a step whose server does not answer, and goes on within max_failures', async () => {
      await fleet.stop('web02');
      const failed = await deploy('3-master', '&max_failures=1');
      await fleet.start('web02');
      const id = failed.body.error.details.deployment_id;
      const { batches } = (await api('GET', `/app/widgetmakers/deployments/${id}`)).body;
      const steps = batches.flatMap((b: { steps: object[] }) => b.steps);
      expect(steps).toContainEqual(
        expect.objectContaining({
          server: 'web02',
          gitdeploy: 'Configuration',
          status: 'failed',
          attempts: 3,
          error: expect.objectContaining({ code: 'server_unreachable' }),
        }),
      );
      expect(steps).toContainEqual(
        expect.objectContaining({
          server: 'web02',
          gitdeploy: 'WebApplication',
          status: 'skipped',
        }),
      );
      expect(await census()).toMatchObject({
        production: {
          WebFrontEnd: Object.fromEntries(PRODUCTION.map((s) => [s, both('3-master', '3-master')])),
        },
      });
    });

    it('refuses a server whose host key has changed, and shows both', async () => {
      await fleet.rotateHostKey('web04');
      const failed = await api(
        'POST',
        '/app/widgetmakers/deployments?build_name=2-master&wait=60',
        { servers: ['web04'], gitdeploys: ['Configuration'] },
      );
      const [{ error }] = failed.body.error.details.problems;
      expect(error.code).toBe('host_key_changed');
      expect(error.message.match(/SHA256:/g)).toHaveLength(2);
      expect(await on('web04', 'cat /opt/widgets-config/app-config/conf/main.xml')).toContain(
        '<version>3<',
      );
    });

    it('has everything after it was stopped and started again', async () => {
      const before = await census();
      await muster.restart();
      expect(await census()).toEqual(before);
      expect((await api('GET', '/app/widgetmakers/builds')).body.builds).toEqual([
        '1-master',
        '2-master',
        '3-master',
      ]);
      const files = (await api('GET', '/app/widgetmakers/builds/3-master')).body.packages.configs
        .files;
      expect(files).toBe(2);
    });

    it('deinitializes and leaves what it did not make', async () => {
      const done = await api(
        'POST',
        '/app/widgetmakers/gitdeploys/Configuration?deinitialize=true&wait=60',
        { servers: ['web01', 'test01'] },
      );
      expect(done.status).toBe(200);
      expect(await on('web01', 'cd /opt/widgets-config && find . -type f | sort')).toBe(
        './app-config/conf/main.xml\n./notes.txt\n./x.local\n',
      );
      expect(await on('test01', 'ls -A /opt')).toBe('widgets\n');
      expect((await census()).production['-']).toEqual({
        web01: { WebApplication: leaf('3-master', '3-master') },
      });
    });

    it('never writes a private key or the token to its output', () => {
      expect(muster.output()).not.toContain('PRIVATE KEY');
      expect(muster.output()).not.toContain(muster.token);
    });
  },
);
