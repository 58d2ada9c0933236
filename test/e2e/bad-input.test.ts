import { execFile } from 'node:child_process';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type ApiClient, createApiClient, type Reply } from '../support/api-client.ts';
import { packTarGz } from '../support/archive.ts';
import { startMuster, type TestMuster } from '../support/muster.ts';
import { makeTemporaryDirectory, type TemporaryDirectory } from '../support/temporary-directory.ts';

const run = promisify(execFile);

/** A tar.gz made by the system's tar with these arguments, in a folder with the given files. */
async function hostileTar(directory: string, ...args: string[]): Promise<Buffer> {
  const out = join(directory, `${args.length}-${Date.now()}.tar.gz`);
  await run('tar', ['-czPf', out, ...args], { cwd: directory });
  return await readFile(out);
}

describe('bad input on the main path', () => {
  let muster: TestMuster;
  let api: ApiClient;
  let directory: TemporaryDirectory;
  let builds = 0;

  /** What a reply says is wrong, with a check that it is an error body as the contract gives it. */
  const errorOf = (reply: Reply): { status: number; code: string; message: string } => {
    expect(reply.body).toMatchObject({
      status: 'error',
      error: {
        code: expect.stringMatching(/^[a-z_]+$/),
        message: expect.stringMatching(/\w.*[.?]$/s),
      },
    });
    expect(JSON.stringify(reply.body)).not.toMatch(/node_modules|at async|\.ts:\d/);
    return { status: reply.status, code: reply.body.error.code, message: reply.body.error.message };
  };
  const newBuild = async (): Promise<string> => {
    builds += 1;
    const name = `bad-${builds}`;
    expect((await api('PUT', `/app/shop/builds?build_name=${name}`)).status).toBe(201);
    return name;
  };
  const upload = (build: string, archive: Uint8Array, query = 'file_type=tar.gz') =>
    api('POST', `/app/shop/builds/${build}?${query}&wait=60`, archive);
  /** After a refused upload: nothing of it is left, and a good one is taken. */
  const expectUnharmed = async (build: string): Promise<void> => {
    const shown = (await api('GET', `/app/shop/builds/${build}`)).body;
    expect(shown.packages).toEqual({});
    expect(['created', 'failed']).toContain(shown.state);
    await expect
      .poll(() => readdir(join(muster.dataDirectory, 'uploads')).catch(() => []), {
        timeout: 60_000,
      })
      .toEqual([]);
    const good = await upload(build, await packTarGz({ 'a.txt': 'a' }));
    expect(good).toMatchObject({ status: 200, body: { state: 'stored' } });
  };

  beforeAll(async () => {
    directory = await makeTemporaryDirectory();
    await mkdir(join(directory.path, 'one/opt'), { recursive: true });
    await mkdir(join(directory.path, 'two/opt'), { recursive: true });
    await writeFile(join(directory.path, 'file.txt'), 'content\n'.repeat(10_000));
    muster = await startMuster('embedded', { MUSTER_SSH_CONNECT_TIMEOUT_MS: '1000' });
    api = createApiClient(muster);
    await api('PUT', '/app?app_name=shop');
    for (const name of ['one', 'two']) {
      const connection = { kind: 'local', root: join(directory.path, name) };
      await api('PUT', `/server?name=${name}&environment=production`, { connection });
    }
    await api('PUT', '/app/shop/gitrepos?name=repo&wait=30');
    const location = { path: '/opt/shop', gitrepo: 'repo', default_branch: 'master' };
    await api('PUT', '/app/shop/gitdeploys?name=Web', { package: 'master', location });
    await api('PUT', '/app/shop/groups?name=All', { gitdeploys: ['Web'] });
    await api('POST', '/app/shop/gitdeploys/Web?initialize=true&wait=30', { servers: ['one'] });
    await api('PUT', '/app/shop/builds?build_name=good');
    const good = await upload('good', await packTarGz({ 'index.html': 'hello' }));
    expect(good.status).toBe(200);
  });
  afterAll(async () => {
    await muster.close();
    await directory.remove();
  });

  describe('uploads', () => {
    it('refuses an archive of another type than it says', async () => {
      const build = await newBuild();
      const archive = await packTarGz({ 'a.txt': 'a' });
      expect(errorOf(await upload(build, archive, 'file_type=zip'))).toMatchObject({
        status: 422,
        code: 'archive_wrong_type',
      });
      expect(errorOf(await upload(build, archive, 'file_type=rar'))).toMatchObject({ status: 400 });
      await expectUnharmed(build);
    });

    it('refuses a truncated archive', async () => {
      const build = await newBuild();
      const archive = await hostileTar(directory.path, 'file.txt');
      const half = archive.subarray(0, archive.length / 2);
      expect(errorOf(await upload(build, half))).toMatchObject({
        status: 422,
        code: 'archive_broken',
      });
      await expectUnharmed(build);
    });

    it('refuses an archive whose SHA-256 is another one', async () => {
      const build = await newBuild();
      const query = `file_type=tar.gz&sha256=${'0'.repeat(64)}`;
      const refused = await upload(build, await packTarGz({ 'a.txt': 'a' }), query);
      expect(errorOf(refused)).toMatchObject({ status: 422, code: 'checksum_mismatch' });
      await expectUnharmed(build);
    });

    const hostile: readonly [string, (path: string) => Promise<Buffer>][] = [
      ['a name that climbs out', (d) => hostileTar(d, '--transform', 's,^,../,', 'file.txt')],
      ['an absolute name', (d) => hostileTar(d, join(d, 'file.txt'))],
      [
        'a symlink out of the tree',
        async (d) => {
          await run('ln', ['-sfn', '../../etc/passwd', join(d, 'link')]);
          return await hostileTar(d, 'link');
        },
      ],
      [
        'a named pipe',
        async (d) => {
          await run('sh', ['-c', 'test -p "$1" || mkfifo "$1"', 'sh', join(d, 'pipe')]);
          return await hostileTar(d, 'pipe');
        },
      ],
      ['a .git folder', (d) => hostileTar(d, '--transform', 's,^,.GIT/hooks/,', 'file.txt')],
    ];
    it.each(hostile)('refuses an archive with %s', async (_what, make) => {
      const build = await newBuild();
      expect(errorOf(await upload(build, await make(directory.path)))).toMatchObject({
        status: 422,
        code: 'archive_unsafe',
      });
      await expectUnharmed(build);
    });

    it('refuses a second upload of a stored build', async () => {
      const refused = await upload('good', await packTarGz({ 'index.html': 'other' }));
      expect(errorOf(refused)).toMatchObject({ status: 409, code: 'build_already_stored' });
    });

    it('refuses an upload without an archive, of an unknown build, with an unknown package map', async () => {
      const build = await newBuild();
      expect(errorOf(await upload(build, new Uint8Array())).status).toBe(400);
      expect(errorOf(await upload('nope', new Uint8Array([1]))).status).toBe(404);
      const archive = await packTarGz({ 'a.txt': 'a' });
      const refused = await upload(build, archive, 'file_type=tar.gz&package_map=nope');
      expect(errorOf(refused).status).toBe(400);
      await expectUnharmed(build);
    });

    it('refuses a build in which two files of a package would have one name', async () => {
      const build = await newBuild();
      const packages = { flat: { patterns: ['a', 'xa'], remove_prefix: 'x' } };
      expect((await api('PUT', '/app/shop/packagemaps?name=clash', { packages })).status).toBe(201);
      const refused = await upload(
        build,
        await packTarGz({ a: '1', xa: '2' }),
        'file_type=tar.gz&package_map=clash',
      );
      expect(errorOf(refused)).toMatchObject({ status: 422, code: 'package_map_conflict' });
      await expectUnharmed(build);
    });
  });

  describe('objects', () => {
    it.each([
      ['an absolute pattern', { p: { patterns: ['/etc/*'] } }],
      ['a pattern that climbs', { p: { patterns: ['../*'] } }],
      ['a pattern with an open bracket', { p: { patterns: ['a[b'] } }],
      ['no patterns', { p: { patterns: [] } }],
      ['a pattern that is no text', { p: { patterns: [1] } }],
      ['no packages', {}],
    ])('refuses a package map with %s', async (_what, packages) => {
      const refused = await api('PUT', '/app/shop/packagemaps?name=bad', { packages });
      expect(errorOf(refused).status).toBe(400);
      expect((await api('GET', '/app/shop/packagemaps/bad')).status).toBe(404);
    });

    it.each([
      ['PUT', '/app?app_name=shop', undefined],
      ['PUT', '/app/shop/builds?build_name=good', undefined],
      ['PUT', '/app/shop/gitrepos?name=repo', undefined],
      [
        'PUT',
        '/app/shop/gitdeploys?name=Web',
        {
          package: 'master',
          location: { path: '/opt/other', gitrepo: 'repo', default_branch: 'master' },
        },
      ],
      ['PUT', '/app/shop/groups?name=All', { gitdeploys: ['Web'] }],
      [
        'PUT',
        '/server?name=one&environment=testing',
        { connection: { kind: 'local', root: '/tmp' } },
      ],
    ])('answers %s %s with 409, for it exists already', async (method, path, body) => {
      expect(errorOf(await api(method, path, body))).toMatchObject({
        status: 409,
        code: 'already_exists',
      });
    });

    it.each([
      ['GET', '/app/shp'],
      ['GET', '/app/shop/builds/goood'],
      ['GET', '/app/shop/packagemaps/nope'],
      ['GET', '/app/shop/gitrepos/rep'],
      ['GET', '/app/shop/gitdeploys/Wob'],
      ['GET', '/app/shop/groups/Al'],
      ['GET', '/app/shop/deployments/00000000-0000-7000-8000-000000000000'],
      ['GET', '/app/shop/builds/good/packages/nope'],
      ['GET', '/server/nope'],
      ['GET', '/global/keypairs/nope'],
      ['GET', '/job/00000000-0000-7000-8000-000000000000'],
      ['DELETE', '/app/nope'],
      ['GET', '/nowhere'],
    ])('answers %s %s with 404', async (method, path) => {
      expect(errorOf(await api(method, path)).status).toBe(404);
    });

    it('says what was probably meant', async () => {
      expect(errorOf(await api('GET', '/app/shop/gitdeploys/Wob')).message).toContain('`Web`');
      expect(errorOf(await api('GET', '/app/shop/builds?detials=true'))).toMatchObject({
        status: 400,
        code: 'unknown_parameter',
        message: expect.stringContaining('details'),
      });
    });

    it('refuses to delete what others need, and names them', async () => {
      const refused = errorOf(await api('DELETE', '/app/shop/gitrepos/repo'));
      expect(refused).toMatchObject({ status: 409, code: 'in_use' });
      expect(refused.message).toContain('`Web`');
      expect(errorOf(await api('DELETE', '/server/one')).status).toBe(409);
      expect(errorOf(await api('DELETE', '/app/shop/gitdeploys/Web')).status).toBe(409);
    });

    it('refuses malformed JSON, also as curl sends it', async () => {
      const headers = { 'content-type': 'application/x-www-form-urlencoded' };
      const refused = await api('PUT', '/app/shop/groups?name=x', '{"gitdeploys": [', headers);
      expect(errorOf(refused)).toMatchObject({ status: 400, code: 'invalid_json' });
      const taken = await api(
        'PUT',
        '/app/shop/groups?name=curl',
        '{"gitdeploys":["Web"]}',
        headers,
      );
      expect(taken.status).toBe(201);
      expect((await api('DELETE', '/app/shop/groups/curl')).status).toBe(200);
    });

    it('refuses a state function that it does not know', async () => {
      const refused = await api('PUT', '/app/shop/gitdeploys?name=Bad', {
        package: 'master',
        location: { path: '/opt/bad', gitrepo: 'repo', default_branch: 'master' },
        actions: { prepull: { x: { 'cmd.rum': [{ name: 'true' }] } } },
      });
      expect(errorOf(refused)).toMatchObject({
        status: 400,
        message: expect.stringContaining('cmd.run'),
      });
    });
  });

  describe('who asks', () => {
    it('refuses no token, a wrong one and two', async () => {
      const stranger = createApiClient({ url: muster.url, token: 'not-a-token-of-anybody' });
      expect(errorOf(await stranger('GET', '/app'))).toMatchObject({
        status: 401,
        code: 'unauthenticated',
      });
      const bare = await fetch(new URL('/app', muster.url));
      expect(bare.status).toBe(401);
      const twice = await api('GET', '/app', undefined, { 'auth-token': muster.token });
      expect(errorOf(twice).status).toBe(401);
      expect((await fetch(new URL(`/app?auth_token=${muster.token}`, muster.url))).status).toBe(
        200,
      );
    });
  });

  describe('servers and deployments', () => {
    it('says which parent is missing, and initializes the servers that are in order', async () => {
      const location = { path: '/opt/deep/er', gitrepo: 'repo', default_branch: 'master' };
      await api('PUT', '/app/shop/gitdeploys?name=Deep', { package: 'master', location });
      await mkdir(join(directory.path, 'two/opt/deep'));
      const refused = await api('POST', '/app/shop/gitdeploys/Deep?initialize=true&wait=30', {
        servers: ['one', 'two'],
      });
      expect(errorOf(refused)).toMatchObject({
        status: 409,
        code: 'path_parent_missing',
        message: expect.stringContaining('/opt/deep'),
      });
      expect(refused.body.error.details.servers).toMatchObject({
        one: { status: 'failed', error: { code: 'path_parent_missing' } },
        two: { status: 'initialized' },
      });
      expect((await api('GET', '/app/shop/gitdeploys/Deep')).body.servers).toEqual(['two']);
      expect(await readdir(join(directory.path, 'one/opt'))).toEqual(['shop']);
    });

    it('says which server does not answer', async () => {
      await api('PUT', '/global/keypairs?name=kp&generate=true');
      const connection = { kind: 'ssh', host: '127.0.0.1', port: 1, user: 'root', keypair: 'kp' };
      await api('PUT', '/server?name=silent&environment=production', { connection });
      const refused = await api('POST', '/app/shop/gitdeploys/Web?initialize=true&wait=60', {
        servers: ['silent'],
      });
      expect(errorOf(refused)).toMatchObject({
        status: 503,
        code: 'server_unreachable',
        message: expect.stringContaining('silent'),
      });
      expect((await api('GET', '/app/shop/gitdeploys/Web')).body.servers).toEqual(['one']);
    });

    it.each([
      ['an unknown build', 'build_name=nope', { servers: ['one'], gitdeploys: ['Web'] }],
      ['an unknown server', 'build_name=good', { servers: ['ona'], gitdeploys: ['Web'] }],
      ['an unknown gitdeploy', 'build_name=good', { servers: ['one'], gitdeploys: ['Wed'] }],
      ['an unknown group', 'build_name=good', { environments: ['production'], groups: ['Al'] }],
      ['an unknown environment', 'build_name=good', { environments: ['prod'], groups: ['All'] }],
      ['a server without the clone', 'build_name=good', { servers: ['two'], gitdeploys: ['Web'] }],
      [
        'both styles at once',
        'build_name=good',
        { servers: ['one'], gitdeploys: ['Web'], environments: ['production'], groups: ['All'] },
      ],
      ['no target', 'build_name=good', {}],
      [
        'a negative pause',
        'build_name=good&rolling_pause=-1',
        { servers: ['one'], gitdeploys: ['Web'] },
      ],
      [
        'a divisor that is no number',
        'build_name=good&rolling_divisor=two',
        { servers: ['one'], gitdeploys: ['Web'] },
      ],
    ])('refuses a deployment to %s', async (_what, query, body) => {
      expect(errorOf(await api('POST', `/app/shop/deployments?${query}`, body)).status).toBe(400);
      expect((await api('GET', '/app/shop/deployments')).body.deployments).toEqual([]);
    });

    it('says where a gitdeploy is not initialized', async () => {
      const refused = await api('POST', '/app/shop/deployments?build_name=good', {
        servers: ['one', 'two'],
        gitdeploys: ['Web'],
      });
      expect(refused.body.error).toMatchObject({
        code: 'not_initialized',
        details: { missing: { Web: ['two'] } },
      });
    });

    it('refuses a build that lacks the package, or was not uploaded', async () => {
      const location = { path: '/opt/part', gitrepo: 'repo', default_branch: 'parts' };
      await api('PUT', '/app/shop/gitdeploys?name=Part', { package: 'part', location });
      await api('POST', '/app/shop/gitdeploys/Part?initialize=true&wait=30', { servers: ['one'] });
      const target = { servers: ['one'], gitdeploys: ['Part'] };
      const lacking = await api('POST', '/app/shop/deployments?build_name=good', target);
      expect(errorOf(lacking)).toMatchObject({ status: 400, code: 'package_missing' });
      const empty = await newBuild();
      const unstored = await api('POST', `/app/shop/deployments?build_name=${empty}`, target);
      expect(errorOf(unstored)).toMatchObject({ status: 400, code: 'build_not_stored' });
    });
  });
});
