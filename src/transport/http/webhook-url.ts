import { isIP } from 'node:net';
import { AppError } from '../../domain/errors.ts';
import { shortened } from '../../domain/quoted.ts';
import { type AllowList, forbiddenReason } from './address-policy.ts';
import { hostOf } from './source-url.ts';

const MAX_URL_CHARACTERS = 2048;

/**
 * Reads the URL of a webhook and refuses what can be refused without a look-up: anything but http and https, and an
 * address that is written out and is not allowed. No message holds more of it than the host, as the rest may be secret.
 * @throws {AppError} `webhook_url_refused`
 */
export function parseWebhookUrl(text: string, allow: AllowList): URL {
  if (text.length > MAX_URL_CHARACTERS || !URL.canParse(text)) {
    throw refused(
      `\`url\` is not an absolute URL of at most ${MAX_URL_CHARACTERS} characters; give one such as https://hooks.example.com/muster.`,
    );
  }
  const url = new URL(text);
  if (url.protocol !== 'http:' && url.protocol !== 'https:') {
    throw refused(
      `\`url\` leads to ${shortened(url.protocol)}, but messages are sent by http and https only.`,
    );
  }
  const host = hostOf(url);
  const reason = isIP(host) === 0 ? null : forbiddenReason(host, host, allow);
  if (reason !== null) throw refusedReceiver(host, host, reason);
  return url;
}

/** For an address that may not be connected to. @param reason half a sentence whose subject is the address */
export function refusedReceiver(host: string, address: string, reason: string): AppError {
  const where =
    host === address
      ? `the address ${address}, which`
      : `the host ${shortened(host)}, whose address ${address}`;
  return refused(
    `\`url\` leads to ${where} ${reason}; Muster sends to public addresses and to what the setting MUSTER_WEBHOOK_ALLOW names.`,
    { host: shortened(host), address },
  );
}

function refused(message: string, details: Readonly<Record<string, unknown>> = {}): AppError {
  return new AppError('webhook_url_refused', message, {
    details: { parameter: 'url', ...details },
  });
}
