import { BlockList, isIP, isIPv4 } from 'node:net';
import { AppError } from '../../domain/errors.ts';
import { quoted } from '../../domain/quoted.ts';

/** What an operator lets Muster download from although it is not public: see `parseAllowList`. */
export interface AllowList {
  /** Names whose addresses are not looked at, in lower case. */
  readonly hosts: ReadonlySet<string>;
  readonly networks: BlockList;
}

/**
 * IPv4 that is not the public internet. Source: IANA IPv4 Special-Purpose Address Registry; the addresses at which
 * clouds tell a machine its credentials are in these, but for Azure's, which is given by itself.
 */
const SPECIAL_IPV4: readonly (readonly [network: string, prefix: number, what: string])[] = [
  ['0.0.0.0', 8, 'means this host'],
  ['10.0.0.0', 8, 'is private'],
  ['100.64.0.0', 10, "is of a provider's inner network"],
  ['127.0.0.0', 8, 'is loopback'],
  ['168.63.129.16', 32, "is a cloud's metadata service"],
  ['169.254.0.0', 16, 'is link-local, where clouds have their metadata service'],
  ['172.16.0.0', 12, 'is private'],
  ['192.0.0.0', 24, 'is reserved'],
  ['192.0.2.0', 24, 'is reserved'],
  ['192.31.196.0', 24, 'is reserved'],
  ['192.52.193.0', 24, 'is reserved'],
  ['192.88.99.0', 24, 'is reserved'],
  ['192.168.0.0', 16, 'is private'],
  ['192.175.48.0', 24, 'is reserved'],
  ['198.18.0.0', 15, 'is reserved'],
  ['198.51.100.0', 24, 'is reserved'],
  ['203.0.113.0', 24, 'is reserved'],
  ['224.0.0.0', 4, 'is multicast'],
  ['240.0.0.0', 4, 'is reserved'],
];

/** All unicast that is routed is in here; loopback, unique-local, link-local, multicast, mapped and NAT64 are not. */
const GLOBAL_IPV6 = ['2000::', 3] as const;

/** Parts of `GLOBAL_IPV6` that are no hosts of their own, or stand for an IPv4 address that would not be looked at. */
const SPECIAL_IPV6: readonly (readonly [network: string, prefix: number])[] = [
  ['2001::', 23],
  ['2001:db8::', 32],
  ['2002::', 16],
  ['2620:4f:8000::', 48],
  ['3fff::', 20],
];

const SPECIAL_BY_REASON = SPECIAL_IPV4.map(([network, prefix, what]) => {
  const list = new BlockList();
  list.addSubnet(network, prefix, 'ipv4');
  return { list, what };
});
const globalIpv6 = new BlockList();
globalIpv6.addSubnet(...GLOBAL_IPV6, 'ipv6');
const specialIpv6 = new BlockList();
for (const [network, prefix] of SPECIAL_IPV6) specialIpv6.addSubnet(network, prefix, 'ipv6');

/** Nothing but public addresses. */
export const ALLOW_NONE: AllowList = { hosts: new Set(), networks: new BlockList() };

/**
 * Reads the setting `MUSTER_INDIRECT_ALLOW`: host names, addresses and networks (`10.1.0.0/16`), separated by commas
 * or spaces. A host that is named may have any address.
 * @throws {AppError} `invalid_input` naming the entry that is none of these
 */
export function parseAllowList(text: string): AllowList {
  const hosts = new Set<string>();
  const networks = new BlockList();
  for (const entry of text.split(/[\s,]+/).filter((each) => each !== '')) {
    const [address = '', prefix, ...rest] = entry.split('/');
    const family = isIP(address);
    if (family !== 0 && rest.length === 0) {
      const maxPrefix = family === 4 ? 32 : 128;
      const length = prefix === undefined ? maxPrefix : Number(prefix);
      if (/^\d{1,3}$/.test(prefix ?? '0') && length <= maxPrefix && !address.includes('%')) {
        networks.addSubnet(address, length, family === 4 ? 'ipv4' : 'ipv6');
        continue;
      }
    } else if (prefix === undefined && HOST_NAME.test(entry) && !/^[\d.]+$/.test(entry)) {
      hosts.add(canonicalHost(entry));
      continue;
    }
    throw new AppError(
      'invalid_input',
      `${quoted(entry)} is neither a host name, an address nor a network such as 10.1.0.0/16.`,
    );
  }
  return { hosts, networks };
}

const HOST_NAME = /^[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?\.?$/;

/** How a host name is compared: in lower case, without the dot that may end it. */
function canonicalHost(host: string): string {
  return host.toLowerCase().replace(/\.$/, '');
}

/**
 * Why Muster may not connect to an address, as half a sentence whose subject is the address; null if it may.
 * What is not known to be public is refused. Source: DESIGN.md "Safety".
 * @param host the name that the address was found by, or the address itself
 */
export function forbiddenReason(host: string, address: string, allow: AllowList): string | null {
  if (allow.hosts.has(canonicalHost(host))) return null;
  const family = isIP(address);
  if (family === 0 || address.includes('%')) return 'is no plain address';
  const type = family === 4 ? 'ipv4' : 'ipv6';
  if (allow.networks.check(address, type)) return null;
  if (isIPv4(address)) {
    return SPECIAL_BY_REASON.find(({ list }) => list.check(address, type))?.what ?? null;
  }
  const isPublic = globalIpv6.check(address, type) && !specialIpv6.check(address, type);
  return isPublic ? null : 'is not public';
}
