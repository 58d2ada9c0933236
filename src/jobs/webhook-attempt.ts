import { openSecret } from '../domain/sealed-secret.ts';
import { linkOf, signatureOf } from '../domain/webhook-payload.ts';
import { slackMessage } from '../domain/webhook-slack.ts';
import type { ClaimedDelivery } from '../store/webhook-deliveries.ts';
import type { AllowList } from '../transport/http/address-policy.ts';
import { type PostAnswer, post } from '../transport/http/post.ts';
import { parseWebhookUrl } from '../transport/http/webhook-url.ts';

export interface AttemptOptions {
  readonly secretKey: Uint8Array;
  readonly publicUrl: string | null;
  readonly allow: AllowList;
  readonly timeoutMs: number;
  /** Of Muster, for `User-Agent`. */
  readonly version: string;
  readonly signal: AbortSignal;
}

/**
 * Sends one message to its webhook, once.
 * @throws as `post` does
 */
export async function attemptDelivery(
  delivery: ClaimedDelivery,
  o: AttemptOptions,
): Promise<PostAnswer> {
  // Read anew each time: it may have been changed, or been allowed under other settings.
  const url = parseWebhookUrl(openSecret(delivery.urlSealed, o.secretKey), o.allow);
  const body = bodyOf(delivery, o.publicUrl);
  const { secretSealed } = delivery;
  return post({
    url,
    allow: o.allow,
    body,
    timeoutMs: o.timeoutMs,
    signal: o.signal,
    headers: {
      'content-type': 'application/json; charset=utf-8',
      'user-agent': `Muster/${o.version}`,
      'x-muster-event': delivery.event,
      'x-muster-delivery': delivery.id,
      ...(secretSealed === null
        ? {}
        : { 'x-muster-signature-256': signatureOf(body, openSecret(secretSealed, o.secretKey)) }),
    },
  });
}

/** The same text at every attempt, as long as the settings stay the same. */
function bodyOf({ kind, payload }: ClaimedDelivery, publicUrl: string | null): string {
  if (kind === 'slack') return JSON.stringify(slackMessage(payload, publicUrl));
  const link = linkOf(payload, publicUrl);
  return JSON.stringify(link === null ? payload : { ...payload, link });
}
