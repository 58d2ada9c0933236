import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type ApiClient, createApiClient } from '../support/api-client.ts';
import { packTarGz } from '../support/archive.ts';
import { startMuster, type TestMuster } from '../support/muster.ts';
import { makeTemporaryDirectory, type TemporaryDirectory } from '../support/temporary-directory.ts';

/** The seed's own example of the difference between committed and deployed. Source: the seed, "View Application". */
describe('two gitdeploys that share a gitrepo', () => {
  let muster: TestMuster;
  let api: ApiClient;
  let directory: TemporaryDirectory;

  beforeAll(async () => {
    directory = await makeTemporaryDirectory();
    await mkdir(join(directory.path, 'web01/opt'), { recursive: true });
    muster = await startMuster('embedded');
    api = createApiClient(muster);
    await api('PUT', '/app?app_name=shop');
    const connection = { kind: 'local', root: join(directory.path, 'web01') };
    await api('PUT', '/server?name=web01&environment=production', { connection });
    await api('PUT', '/app/shop/gitrepos?name=Foo&wait=30');
    for (const name of ['A', 'B']) {
      const location = { path: `/opt/${name}`, gitrepo: 'Foo', default_branch: 'master' };
      await api('PUT', `/app/shop/gitdeploys?name=${name}`, { package: 'master', location });
      const made = await api('POST', `/app/shop/gitdeploys/${name}?initialize=true&wait=30`, {
        servers: ['web01'],
      });
      expect(made.status).toBe(200);
    }
  });
  afterAll(async () => {
    await muster.close();
    await directory.remove();
  });

  const deploy = async (build: string, gitdeploys: string[]): Promise<void> => {
    await api('PUT', `/app/shop/builds?build_name=${build}`);
    const archive = await packTarGz({ version: `${build}\n` });
    await api('POST', `/app/shop/builds/${build}?file_type=tar.gz&wait=30`, archive);
    const done = await api('POST', `/app/shop/deployments?build_name=${build}&wait=60`, {
      servers: ['web01'],
      gitdeploys,
    });
    expect(done.body.status).toBe('succeeded');
  };
  const census = async () => (await api('GET', '/app/shop/census')).body.production['-'].web01;
  const version = (gitdeploy: string) =>
    readFile(join(directory.path, 'web01/opt', gitdeploy, 'version'), 'utf8');

  it('are both committed, and only the one that was asked for is deployed', async () => {
    await deploy('1', ['A', 'B']);
    await deploy('2', ['A']);
    expect(await census()).toEqual({
      A: { committed: '2', deployed: '2' },
      B: { committed: '2', deployed: '1' },
    });
    expect([await version('A'), await version('B')]).toEqual(['2\n', '1\n']);
  });

  it('take a build that is committed already without a new commit', async () => {
    const head = async () => (await api('GET', '/app/shop/gitrepos/Foo')).body.head_commit;
    const before = await head();
    const done = await api('POST', '/app/shop/deployments?build_name=2&wait=60', {
      servers: ['web01'],
      gitdeploys: ['B'],
    });
    expect(done.body.status).toBe('succeeded');
    expect(await head()).toBe(before);
    expect(await census()).toMatchObject({ B: { committed: '2', deployed: '2' } });
    expect(await version('B')).toBe('2\n');
  });
});
