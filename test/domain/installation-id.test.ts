import { describe, expect, it } from 'vitest';
import { installationId } from '../../src/domain/installation-id.ts';

describe('the id of an installation', () => {
  const a = '01a1fd52-2d04-74b1-bc48-c083174cf85f';
  const b = '01a1fd52-2d04-74b1-bc48-c083174cf860';

  it('is a UUID that depends on nothing but gitdeploy and server', () => {
    expect(installationId(a, b)).toMatch(
      /^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
    );
    expect(installationId(a, b)).toBe(installationId(a, b));
  });

  it('is another one for the pair turned around or changed', () => {
    expect(new Set([installationId(a, b), installationId(b, a), installationId(a, a)]).size).toBe(
      3,
    );
  });
});
