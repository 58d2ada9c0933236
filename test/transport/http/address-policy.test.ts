import { describe, expect, it } from 'vitest';
import type { AppError } from '../../../src/domain/errors.ts';
import {
  ALLOW_NONE,
  forbiddenReason,
  parseAllowList,
} from '../../../src/transport/http/address-policy.ts';
import { parseSourceUrl, showUrl } from '../../../src/transport/http/source-url.ts';

function codeOf(work: () => unknown): string {
  try {
    work();
    return 'none';
  } catch (error) {
    return (error as AppError).code;
  }
}

describe('a URL is refused at once', () => {
  it.each([
    // What is no way to fetch anything.
    ...['', 'x', '/b.zip', 'ftp://example.com/b.zip', 'file:///etc/passwd', 'gopher://example.com'],
    ...['data:text/plain,x', 'http://', 'https://exa mple.com', `http://x/${'a'.repeat(9000)}`],
    // Loopback in every notation.
    ...['http://127.0.0.1/b', 'http://127.1/', 'http://2130706433/', 'http://0x7f000001/'],
    ...['http://0177.0.0.1/', 'http://0x7f.0.0.0x1/', 'http://127.0.0.1./', 'http://[::1]/'],
    ...['http://[::ffff:127.0.0.1]/', 'http://[::ffff:7f00:1]/', 'http://[::127.0.0.1]/'],
    ...['http://１２７.０.０.１/', 'http://127。0。0。1/', 'https://user:pass@127.0.0.1/'],
    ...['http://0/', 'http://0.0.0.0:8080/', 'http://[::]/', 'http://127.255.255.254:2718/'],
    // Inner networks.
    ...['http://10.0.0.1/', 'http://172.16.0.1/', 'http://172.31.255.255/', 'http://192.168.1.1/'],
    ...['http://100.64.0.1/', 'http://100.127.255.255/', 'http://[fc00::1]/', 'http://[fd12::1]/'],
    ...['http://[fec0::1]/', 'http://198.18.0.1/', 'http://192.0.0.1/'],
    // Where clouds give out credentials.
    ...['http://169.254.169.254/latest/meta-data/', 'http://[fd00:ec2::254]/'],
    ...['http://100.100.100.200/', 'http://168.63.129.16/', 'http://192.0.0.192/'],
    ...['http://0xa9fea9fe/', 'http://[::ffff:169.254.169.254]/', 'http://[fe80::1]/'],
    // IPv4 in the clothes of IPv6: NAT64, 6to4, Teredo.
    ...['http://[64:ff9b::7f00:1]/', 'http://[64:ff9b:1::a00:1]/', 'http://[2002:7f00:1::]/'],
    ...['http://[2001:0:a00:1::]/'],
    // No single host, or none at all.
    ...['http://224.0.0.1/', 'http://239.255.255.250/', 'http://255.255.255.255/'],
    ...['http://[ff02::1]/', 'http://240.0.0.1/', 'http://192.0.2.1/', 'http://[2001:db8::1]/'],
  ])('%s', (url) => {
    expect(codeOf(() => parseSourceUrl(url, ALLOW_NONE))).toBe('indirect_url_refused');
  });
});

it.each([
  ...['http://93.184.216.34/b.zip', 'https://[2606:2800:220:1::1]/', 'http://172.32.0.1/'],
  ...['http://100.128.0.1/', 'http://example.com/', 'http://localhost/', 'http://11.0.0.1:81/'],
])('a URL that may be public, or a name that is still to be looked up, passes: %s', (url) => {
  expect(codeOf(() => parseSourceUrl(url, ALLOW_NONE))).toBe('none');
});

it('a URL is shown without user, password, query and fragment', () => {
  const url = new URL('https://user:secret@ci.example.com:8443/b/1.zip?signature=secret#secret');
  expect(showUrl(url)).toBe('https://ci.example.com:8443/b/1.zip');
});

it('a refusal says where the URL leads, why not, and which setting allows it', () => {
  expect(() => parseSourceUrl('http://0x7f000001/', ALLOW_NONE)).toThrow(
    '`indirect_url` leads to the address 127.0.0.1, which is loopback; Muster fetches from public addresses and from what the setting MUSTER_INDIRECT_ALLOW names.',
  );
});

describe('the allow list', () => {
  const allow = parseAllowList(' Artifacts.Internal., 10.1.0.0/16 192.168.7.7,fd00:1::/32 ');

  it.each([
    ['artifacts.internal', '127.0.0.1', true],
    ['ARTIFACTS.internal.', '10.9.9.9', true],
    ['x.artifacts.internal', '127.0.0.1', false],
    ['x', '10.1.255.255', true],
    ['x', '10.2.0.1', false],
    ['x', '192.168.7.7', true],
    ['x', '192.168.7.8', false],
    ['x', 'fd00:1:ffff::1', true],
    ['x', 'fd00:2::1', false],
    ['x', 'fe80::1%eth0', false],
    ['x', 'nonsense', false],
    ['x', '8.8.8.8', true],
  ])('decides on %s at %s: %s', (host, address, isAllowed) => {
    expect(forbiddenReason(host, address, allow) === null).toBe(isAllowed);
  });

  it.each(['10.0.0.0/33', '10.0.0/8', '300.1.1.1', 'a/b', 'http://x', '10.0.0.0/', 'a b/8', '*'])(
    'is refused for %s, which it names',
    (text) => {
      expect(codeOf(() => parseAllowList(text))).toBe('invalid_input');
    },
  );
});
