import { describe, expect, it } from 'vitest';
import { hashPassword, verifyPassword } from '../../src/domain/passwords.ts';

describe('passwords', () => {
  it('are known by their hash, which says how it was made and differs each time', async () => {
    const [first, second] = await Promise.all([
      hashPassword('pass word'),
      hashPassword('pass word'),
    ]);
    expect(first).toMatch(/^\$scrypt\$ln=15,r=8,p=3\$[\w+/]{22}\$[\w+/]{43}$/);
    expect(first).not.toBe(second);
    expect(await verifyPassword('pass word', first)).toBe(true);
    expect(await verifyPassword('pass wort', first)).toBe(false);
  });

  it('are verified with the cost they were hashed with', async () => {
    // scrypt of "pleaseletmein" and "SodiumChloride" with N=16384, r=8, p=1: RFC 7914, section 12, first 32 bytes.
    const key = Buffer.from(
      '7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2',
      'hex',
    );
    const salt = Buffer.from('SodiumChloride');
    const text = (bytes: Buffer): string => bytes.toString('base64').replaceAll('=', '');
    const hash = `$scrypt$ln=14,r=8,p=1$${text(salt)}$${text(key)}`;
    expect(await verifyPassword('pleaseletmein', hash)).toBe(true);
    expect(await verifyPassword('pleaseletmeout', hash)).toBe(false);
  });

  it('are the same however the keyboard composes their letters', async () => {
    const hash = await hashPassword('pâssword');
    expect(await verifyPassword('pa\u0302ssword', hash)).toBe(true);
  });

  it('match nothing where there is no hash', async () => {
    expect(await verifyPassword('', null)).toBe(false);
    expect(await verifyPassword('password', null)).toBe(false);
  });

  it('leave the event loop free while they are hashed', async () => {
    let most = 0;
    // A busy machine may give this process no turn while a thread of it works, but not every time.
    for (let tries = 0; tries < 20 && most < 3; tries += 1) {
      let turns = 0;
      const counting = setInterval(() => (turns += 1), 5);
      await hashPassword('password');
      clearInterval(counting);
      most = Math.max(most, turns);
    }
    expect(most).toBeGreaterThan(2);
  });

  it('are not compared with a hash of unknown form', async () => {
    await expect(verifyPassword('password', 'sha512:abc')).rejects.toThrow('not of a known form');
  });
});
