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

  it('can be asked for again by its ETag at no cost', async () => {
    const first = await api.call('GET', '/openapi.json');
    const again = await api.call('GET', '/openapi.json', {
      headers: { 'if-none-match': String(first.headers['etag']) },
    });
    expect([again.status, again.text]).toEqual([304, '']);
  });
});
