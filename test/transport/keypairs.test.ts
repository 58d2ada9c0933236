import { describe, expect, it } from 'vitest';
import { generateKeypair, readKeypair } from '../../src/transport/keypairs.ts';

describe('generateKeypair', () => {
  it('makes keys that can be read, every time', () => {
    // One in 256 was malformed: of 1,500 without any, the chance was 0.3 %.
    for (let round = 0; round < 1500; round += 1) {
      const { privateKey, publicKey } = generateKeypair();
      if (readKeypair({ privateKey }).publicKey !== publicKey) expect.fail(privateKey);
    }
  });
});
