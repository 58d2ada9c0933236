import { isIP } from 'node:net';

/** Whose `X-Forwarded-For` is believed: that of so many proxies before Muster, or of those at these addresses. */
export type TrustedProxies = number | readonly string[];

/** What `proxy-addr` knows by name. */
const NAMED_NETWORKS: ReadonlySet<string> = new Set(['loopback', 'linklocal', 'uniquelocal']);
const MAX_HOPS = 10;

/**
 * Reads the setting MUSTER_TRUST_PROXY: how many proxies there are, or their addresses and networks.
 * @returns null if it is neither. Not `true`: who believes every proxy believes every caller.
 */
export function parseTrustedProxies(text: string): TrustedProxies | null {
  if (/^\d+$/.test(text.trim())) {
    const hops = Number(text);
    return hops >= 1 && hops <= MAX_HOPS ? hops : null;
  }
  const entries = text
    .split(',')
    .map((entry) => entry.trim())
    .filter((entry) => entry !== '');
  return entries.every(isNetwork) ? entries : null;
}

function isNetwork(entry: string): boolean {
  if (NAMED_NETWORKS.has(entry)) return true;
  const [address = '', prefix, ...more] = entry.split('/');
  const version = isIP(address);
  if (version === 0 || more.length > 0) return false;
  // A prefix of 0 would be everybody.
  const bits = prefix === undefined ? 1 : /^\d{1,3}$/.test(prefix) ? Number(prefix) : 0;
  return bits >= 1 && bits <= (version === 4 ? 32 : 128);
}
