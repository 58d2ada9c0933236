import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { openSecret, sealSecret } from '../../src/domain/sealed-secret.ts';

describe('a sealed secret', () => {
  const key = randomBytes(32);

  it('opens with the key it was sealed with', () => {
    expect(openSecret(sealSecret('ünïcode\n', key), key)).toBe('ünïcode\n');
  });

  it('is different every time and does not hold the secret', () => {
    const [one, two] = [sealSecret('secret', key), sealSecret('secret', key)];
    expect(one).not.toEqual(two);
    expect(Buffer.from(one).includes('secret')).toBe(false);
  });

  it('does not open with another key, nor after one bit was changed', () => {
    const sealed = sealSecret('secret', key);
    expect(() => openSecret(sealed, randomBytes(32))).toThrow(/MUSTER_SECRET_KEY/);
    for (const at of [0, 12, sealed.length - 1]) {
      const changed = Uint8Array.from(sealed);
      changed[at] = (changed[at] ?? 0) ^ 1;
      expect(() => openSecret(changed, key)).toThrow(/MUSTER_SECRET_KEY/);
    }
  });
});
