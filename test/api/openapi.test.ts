import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestApi, type TestApi } from './test-api.ts';

type Json = { readonly [key: string]: unknown };

const isObject = (value: unknown): value is Json => typeof value === 'object' && value !== null;

/** The paths of all properties below a schema that say nothing about themselves. */
function undescribed(schema: unknown, path: string): string[] {
  if (!isObject(schema)) return [];
  const own = isObject(schema['properties']) ? Object.entries(schema['properties']) : [];
  const silent = own
    .filter(([, value]) => isObject(value) && !('description' in value) && !('$ref' in value))
    .map(([name]) => `${path}.${name}`);
  return [
    ...silent,
    ...Object.entries(schema).flatMap(([key, value]) => undescribed(value, `${path}.${key}`)),
  ];
}

/** Method and URL pattern of all routes, from the tree that Fastify prints. HEAD comes with every GET. */
function routesOf(tree: string): [method: string, url: string][] {
  const path: string[] = [];
  return tree.split('\n').flatMap((line): [string, string][] => {
    const [, indent = '', name = '', methods = ''] =
      /^([ │]*)[├└]── (\S+) \((.*)\)$/.exec(line) ?? [];
    if (name === '') return [];
    path.length = indent.length / 4;
    path.push(name);
    const url = path.join('');
    return methods.split(', ').flatMap((method) => (method === 'HEAD' ? [] : [[method, url]]));
  });
}

function operation(document: Json, method: string, url: string): unknown {
  const { [url.replaceAll(/:(\w+)/g, '{$1}')]: found } = document['paths'] as Json;
  return isObject(found) ? (found[method.toLowerCase()] ?? null) : null;
}

describe('the OpenAPI document', () => {
  let api: TestApi;
  let document: Json;
  beforeAll(async () => {
    api = await startTestApi();
    document = (await api.call('GET', '/openapi.json', { headers: { authorization: '' } })).body;
  });
  afterAll(() => api.close());

  it('is what docs/openapi.json keeps; `npx tsx scripts/write-openapi.ts` writes it anew', async () => {
    const kept = await readFile(join(import.meta.dirname, '../../docs/openapi.json'), 'utf8');
    expect(JSON.parse(kept)).toEqual(document);
  });

  it('is of version 3.1 and resolves all its references', () => {
    expect(document['openapi']).toBe('3.1.0');
    const text = JSON.stringify(document);
    const names = new Set([...text.matchAll(/"#\/components\/schemas\/(\w+)"/g)].map((m) => m[1]));
    const { schemas } = document['components'] as { schemas: Json };
    expect(Object.keys(schemas)).toEqual(expect.arrayContaining([...names]));
    expect(names.size).toBeGreaterThan(20);
  });

  it('describes every parameter and every property', () => {
    const parameters = Object.entries(document['paths'] as Json).flatMap(([path, methods]) =>
      Object.values(methods as Json).flatMap((operation) =>
        ((operation as { parameters?: Json[] }).parameters ?? [])
          .filter((parameter) => typeof parameter['description'] !== 'string')
          .map((parameter) => `${path} ${String(parameter['name'])}`),
      ),
    );
    const bodies = undescribed(document['paths'], 'paths').filter((at) => !at.endsWith('.build'));
    expect([...parameters, ...bodies, ...undescribed(document['components'], '')]).toEqual([]);
  });

  it('has every route, and leaves out only itself, the page that shows it and the second spellings', () => {
    const inUse = routesOf(api.app.printRoutes({ commonPrefix: false }));
    const missing = inUse.filter(([method, url]) => operation(document, method, url) === null);
    const hidden = missing.filter(([method, url]) => {
      const twin = url.replace(/\/(gitrepo|gitdeploy)(?=\/|$)/, '/$1s');
      return twin === url || operation(document, method, twin) === null;
    });
    expect(inUse.length).toBeGreaterThan(40);
    expect([...new Set(hidden.map(([, url]) => url.replace(/^\/docs\/.*/, '/docs/*')))]).toEqual([
      '/openapi.json',
      '/docs',
      '/docs/*',
    ]);
  });

  it('says of every operation what it does, what it takes and what it answers', () => {
    for (const [path, operations] of Object.entries(document['paths'] as Json)) {
      for (const [method, told] of Object.entries(operations as Json)) {
        const { summary, tags, parameters, responses } = told as Record<string, Json[] & Json>;
        const at = `${method} ${path}`;
        expect({ at, summary: typeof summary, tags: tags?.length }).toEqual({
          at,
          summary: 'string',
          tags: 1,
        });
        const inPath = (parameters ?? []).filter((one) => one['in'] === 'path');
        expect({ at, inPath: inPath.map((one) => `{${String(one['name'])}}`) }).toEqual({
          at,
          inPath: path.match(/\{\w+\}/g) ?? [],
        });
        const statuses = Object.keys(responses ?? {});
        expect({ at, statuses }).toEqual({
          at,
          statuses: expect.arrayContaining([expect.stringMatching(/^20\d$/), '4XX', '5XX']),
        });
      }
    }
  });

  it('can be asked for again by its ETag at no cost', async () => {
    const first = await api.call('GET', '/openapi.json');
    const again = await api.call('GET', '/openapi.json', {
      headers: { 'if-none-match': String(first.headers['etag']) },
    });
    expect([again.status, again.text]).toEqual([304, '']);
  });
});
