import { isIP } from 'node:net';
import { AppError } from '../../domain/errors.ts';
import { shortened } from '../../domain/quoted.ts';
import { type AllowList, forbiddenReason } from './address-policy.ts';

const MAX_URL_CHARACTERS = 8192;

/**
 * Reads the URL of an indirect upload and refuses what can be refused without a look-up: anything but http and https,
 * and an address that is written out (in whatever notation; the URL standard brings them all into one form) and is
 * not allowed.
 * @throws {AppError} `indirect_url_refused`
 */
export function parseSourceUrl(text: string, allow: AllowList): URL {
  if (text.length > MAX_URL_CHARACTERS || !URL.canParse(text)) {
    throw refused(
      '`indirect_url` is not an absolute URL; give one such as https://ci.example.com/build.zip.',
    );
  }
  const url = new URL(text);
  assertSourceUrl(url, allow);
  return url;
}

/** The same checks for a URL that has been read already, such as that of a redirect. @throws {AppError} `indirect_url_refused` */
export function assertSourceUrl(url: URL, allow: AllowList): void {
  if (url.protocol !== 'http:' && url.protocol !== 'https:') {
    throw refused(
      `\`indirect_url\` leads to ${shortened(url.protocol)}, but only http and https are fetched.`,
    );
  }
  const host = hostOf(url);
  if (isIP(host) === 0) return;
  const reason = forbiddenReason(host, host, allow);
  if (reason !== null) throw refusedAddress(host, host, reason);
}

/** The host as a name or a bare address, without the brackets around IPv6. */
export function hostOf(url: URL): string {
  return url.hostname.replace(/^\[|\]$/g, '');
}

/** What may be shown and logged of a URL: no user, password, query or fragment, as each may be a secret. */
export function showUrl(url: URL): string {
  return shortened(`${url.origin}${url.pathname}`);
}

/** An `indirect_url_refused` for an address that may not be connected to. @param reason half a sentence whose subject is the address */
export function refusedAddress(host: string, address: string, reason: string): AppError {
  const where =
    host === address
      ? `the address ${address}`
      : `the host ${shortened(host)}, whose address ${address}`;
  const message = `\`indirect_url\` leads to ${where}${host === address ? ', which' : ''} ${reason}; Muster fetches from public addresses and from what the setting MUSTER_INDIRECT_ALLOW names.`;
  return refused(message, { host: shortened(host), address });
}

function refused(message: string, details: Readonly<Record<string, unknown>> = {}): AppError {
  return new AppError('indirect_url_refused', message, {
    details: { parameter: 'indirect_url', ...details },
  });
}
