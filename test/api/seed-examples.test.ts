import { chmod, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { zip } from '../depot/archive-builders.ts';
import { type ApiClient, createApiClient } from '../support/api-client.ts';
import { packTarGz } from '../support/archive.ts';
import { type Program, startProgram } from '../support/program.ts';
import { makeTemporaryDirectory, type TemporaryDirectory } from '../support/temporary-directory.ts';
import { type Example, SEED_EXAMPLES } from './seed-examples.ts';

const APP = '/app/widgetmakers';
const TOKEN = 'the-admin-token-of-the-examples';

type Operation = {
  readonly parameters?: readonly { readonly in: string; readonly name: string }[];
  readonly responses: Readonly<Record<string, unknown>>;
};

describe('the examples of the published API document', () => {
  let directory: TemporaryDirectory;
  let muster: Program;
  let api: ApiClient;
  let paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;

  const must = async (method: string, path: string, body?: unknown) => {
    const reply = await api(method, path, body);
    expect({ path, status: reply.status, body: reply.body }).toMatchObject({
      status: expect.toSatisfy((status: number) => status < 300),
    });
  };
  const gitdeploy = (path: string, gitrepo: string) => ({
    package: 'master',
    location: { path, gitrepo, default_branch: 'master' },
  });

  // Everything that the examples take for granted, on folders that stand for servers.
  beforeAll(async () => {
    directory = await makeTemporaryDirectory();
    // Else PostgreSQL's account could not reach the data directory, and its files would go elsewhere and stay there.
    await chmod(directory.path, 0o755);
    muster = startProgram('dist/workers/embedded.js', {
      MUSTER_DATA_DIR: join(directory.path, 'data'),
      MUSTER_ADMIN_TOKEN: TOKEN,
      MUSTER_PORT: '0',
    });
    const [, url = ''] = await muster.says(/listening on (http:\S+)/);
    api = createApiClient({ url, token: TOKEN });
    paths = (await api('GET', '/openapi.json')).body.paths;
    await must('PUT', '/app?app_name=widgetmakers');
    await must('PUT', '/global/keypairs?name=kp1&generate=true');
    await must('PUT', '/global/gitproviders?name=gp1', {
      type: 'gitea',
      url: 'http://127.0.0.1:1',
      auth: { token: 'a-token-of-gitea' },
    });
    for (const [name, environment] of [
      ['web01', 'production'],
      ['web02', 'production'],
      ['web03', 'testing'],
    ] as const) {
      const root = join(directory.path, name);
      await mkdir(join(root, 'opt'), { recursive: true });
      await must('PUT', `/server?name=${name}&environment=${environment}`, {
        connection: { kind: 'local', root },
      });
    }
    await must('PUT', `${APP}/packagemaps?name=my_package_map`, {
      packages: { all: { patterns: ['**'] } },
    });
    for (const name of ['MyRepo1', 'wm_webapp_gitrepo', 'one', 'two', 'three']) {
      await must('PUT', `${APP}/gitrepos?name=${name}&wait=60`);
    }
    for (const [name, path, gitrepo] of [
      ['WebApplication', '/opt/application', 'one'],
      ['Configuration', '/opt/configuration', 'two'],
      ['StaticAssets', '/opt/assets', 'three'],
    ] as const) {
      await must('PUT', `${APP}/gitdeploys?name=${name}`, gitdeploy(path, gitrepo));
      await must('POST', `${APP}/gitdeploys/${name}?initialize=true&wait=60`, { servers: '*' });
    }
    const archive = await packTarGz({ 'bin/widgets': 'widgets\n', 'conf/main.xml': '<main/>\n' });
    await must('PUT', `${APP}/builds?build_name=5-master`);
    await must('POST', `${APP}/builds/5-master?file_type=tar.gz&wait=60`, archive);
  });
  afterAll(async () => {
    muster.child.kill('SIGTERM');
    await muster.ended;
    await directory.remove();
  });

  const send = (example: Example) => {
    if (example.body === '@zip') {
      const form = new FormData();
      form.append(
        'build',
        new Blob([new Uint8Array(zip([{ name: 'index.html', content: 'hello\n' }]))]),
        'build.zip',
      );
      return api(example.method, example.url, form);
    }
    const headers = { 'content-type': 'application/x-www-form-urlencoded' };
    return api(
      example.method,
      example.url,
      example.body,
      example.body === undefined ? {} : headers,
    );
  };
  const operationOf = ({ method, url }: Example): Operation | undefined => {
    const [path = ''] = url.replace(/\/(gitrepo|gitdeploy)(?=[/?])/, '/$1s').split('?');
    const template = Object.keys(paths).find((one) =>
      new RegExp(`^${one.replaceAll(/\{\w+\}/g, '[^/]+')}$`).test(path),
    );
    return paths[template ?? '']?.[method.toLowerCase()];
  };

  it.each(SEED_EXAMPLES)('$method $url is taken as it stands there', async (example) => {
    let reply = await send(example);
    // A deletion waits for what the examples before it have started.
    for (
      let tries = 0;
      example.method === 'DELETE' && reply.status === 409 && tries < 300;
      tries += 1
    ) {
      await new Promise((resolve) => setTimeout(resolve, 200));
      reply = await send(deletingAll(example));
    }
    expect({ status: reply.status, body: reply.body }).toMatchObject({
      status: example.status ?? 200,
    });
    const operation = operationOf(example);
    const responses = Object.keys(operation?.responses ?? {});
    expect(responses).toContain(reply.status < 400 ? String(reply.status) : '4XX');
    const known = (operation?.parameters ?? []).map(({ in: place, name }) => `${place} ${name}`);
    const used = [...new URL(example.url, 'http://x').searchParams.keys()].map((k) => `query ${k}`);
    expect(known).toEqual(expect.arrayContaining(used));
  });
});

/** What is still initialized somewhere is only deleted with all that needs it. */
function deletingAll(example: Example): Example {
  return { ...example, url: `${example.url}?cascade=true` };
}
