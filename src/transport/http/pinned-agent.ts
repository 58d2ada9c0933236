import { lookup } from 'node:dns/promises';
import { isIP, type LookupFunction } from 'node:net';
import { Agent, buildConnector } from 'undici';
import { type AllowList, forbiddenReason } from './address-policy.ts';
import { hostOf } from './source-url.ts';

/** Finds all addresses of a host name. */
export type Resolve = (hostname: string) => Promise<readonly string[]>;

/** By the system's resolver, /etc/hosts included. */
export const resolveBySystem: Resolve = async (hostname) =>
  (await lookup(hostname, { all: true, verbatim: true })).map(({ address }) => address);

/** How long each part of a download may take. */
export interface DownloadLimits {
  /** For looking up the name, and again for connecting, TLS included. Milliseconds. */
  readonly connectMs: number;
  /** Without any byte of the answer. Milliseconds. */
  readonly idleMs: number;
  /** For everything together. Milliseconds. */
  readonly totalMs: number;
}

/** How a host that cannot be connected to is told of, in the words of whoever wants to connect. */
export interface HostFaults {
  /** @param reason half a sentence whose subject is the address */
  readonly refused: (host: string, address: string, reason: string) => Error;
  readonly unresolved: (url: URL, why: string, cause: unknown) => Error;
}

/**
 * Looks the host of a URL up once and makes an agent that connects to the addresses found, and to no others: what the
 * name means a moment later makes no difference. Addresses that are not allowed are left out.
 * @returns an agent for this host alone, to be destroyed by the caller
 * @throws what `faults` makes of it if no address is allowed, or if there is none
 */
export async function openPinnedAgent(
  url: URL,
  o: {
    readonly allow: AllowList;
    readonly resolve: Resolve;
    readonly verifyTls: boolean;
    readonly limits: DownloadLimits;
    readonly faults: HostFaults;
  },
): Promise<Agent> {
  const addresses = await allowedAddresses(url, o);
  const connect = buildConnector({
    timeout: o.limits.connectMs,
    rejectUnauthorized: o.verifyTls,
    lookup: pinnedLookup(addresses),
    // Tries the next address when one does not answer, which takes a machine without IPv6 to the others.
    autoSelectFamily: true,
    maxCachedSessions: 0,
    allowH2: false,
  });
  return new Agent({
    connections: 1,
    pipelining: 1,
    headersTimeout: o.limits.idleMs,
    bodyTimeout: o.limits.idleMs,
    connect: (options, callback) => {
      connect(options, (...[error, socket]) => {
        if (error !== null) return callback(error, null);
        // Belt and braces: whatever the layers below did, nothing is sent to an address that was not looked at.
        if (addresses.includes(plainAddress(socket.remoteAddress))) return callback(null, socket);
        socket.destroy();
        return callback(new Error('connected to an address that was not looked up'), null);
      });
    },
  });
}

async function allowedAddresses(
  url: URL,
  o: {
    readonly allow: AllowList;
    readonly resolve: Resolve;
    readonly limits: DownloadLimits;
    readonly faults: HostFaults;
  },
): Promise<readonly string[]> {
  const host = hostOf(url);
  const all = isIP(host) === 0 ? await resolveInTime(url, o) : [host];
  const allowed = all.filter((address) => forbiddenReason(host, address, o.allow) === null);
  if (allowed.length > 0) return allowed.map(plainAddress);
  const [address = ''] = all;
  const reason = forbiddenReason(host, address, o.allow) ?? 'is refused';
  throw o.faults.refused(host, address, reason);
}

async function resolveInTime(
  url: URL,
  o: {
    readonly resolve: Resolve;
    readonly limits: DownloadLimits;
    readonly faults: HostFaults;
  },
): Promise<readonly string[]> {
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(new Error('no answer in time')), o.limits.connectMs);
  try {
    const found = await Promise.race([
      o.resolve(hostOf(url)),
      new Promise<never>((_, reject) => {
        late.signal.addEventListener('abort', () => reject(late.signal.reason), { once: true });
      }),
    ]);
    if (found.length > 0) return found;
    throw new Error('it has no address');
  } catch (cause) {
    const why = cause instanceof Error && 'code' in cause ? String(cause.code) : String(cause);
    throw o.faults.unresolved(url, why, cause);
  } finally {
    clearTimeout(timer);
  }
}

function pinnedLookup(addresses: readonly string[]): LookupFunction {
  const entries = addresses.map((address) => ({ address, family: isIP(address) }));
  return (_hostname, options, callback) => {
    if (options.all === true) return callback(null, entries);
    const [first] = entries;
    return callback(null, first?.address ?? '', first?.family);
  };
}

/** `::ffff:127.0.0.1` is how a socket of both families names an IPv4 address; case and zeros of IPv6 vary too. */
function plainAddress(address: string | undefined): string {
  if (address === undefined || isIP(address) !== 6) return address ?? '';
  const { hostname } = new URL(`http://[${address}]`);
  return hostname.slice(1, -1);
}
