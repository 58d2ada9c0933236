import { describe, expect, it } from 'vitest';
import { parseTrustedProxies } from '../src/trusted-proxies.ts';

describe('trusted proxies', () => {
  it.each([
    ['', []],
    ['1', 1],
    ['loopback', ['loopback']],
    ['10.0.0.5, 10.1.0.0/16,2001:db8::/32', ['10.0.0.5', '10.1.0.0/16', '2001:db8::/32']],
  ])('are read from %o', (text, proxies) => {
    expect(parseTrustedProxies(text)).toEqual(proxies);
  });

  it.each([
    'true',
    '0',
    '11',
    'proxy.example.com',
    '10.0.0.0/33',
    '0.0.0.0/0',
    '10.0.0.0/',
    '1/2/3',
  ])('are not %o', (text) => expect(parseTrustedProxies(text)).toBeNull());
});
