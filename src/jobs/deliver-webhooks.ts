import type { Logger } from 'pino';
import type { Config } from '../config.ts';
import { AppError } from '../domain/errors.ts';
import { judgeDelivery } from '../domain/webhook-retry.ts';
import type { Database } from '../store/database.ts';
import type { Listener } from '../store/listener.ts';
import {
  type AttemptResult,
  type ClaimedDelivery,
  claimDeliveries,
  deactivateGoneWebhook,
  nextDeliveryDueInMs,
  recordDelivered,
  recordUndelivered,
  releaseDelivery,
} from '../store/webhook-deliveries.ts';
import { DELIVERY_TOPIC } from '../store/webhook-notices.ts';
import { PostError } from '../transport/http/post.ts';
import { coalesced } from './coalesced.ts';
import { attemptDelivery } from './webhook-attempt.ts';

/** Attempts at once of this process, and of these for one webhook. */
const CONCURRENCY = 20;
const PER_WEBHOOK = 4;
/** Beyond its timeout, for what an attempt still has to write down. Then its worker is taken for dead. */
const LEASE_MARGIN_MS = 30_000;
/** A lost notification must not hold a message for long. */
const RECHECK_MS = 5000;
/** What is under way may take so long to end when the worker stops. */
const GRACE_MS = 3000;

export interface WebhookDelivererOptions {
  readonly config: Pick<Config, 'secretKey' | 'publicUrl' | 'webhooks'>;
  readonly database: Database;
  /** Tells at once of new messages. */
  readonly listener: Listener;
  readonly log: Logger;
  /** Of Muster. */
  readonly version: string;
}

/** What sends the messages of webhooks in a worker process. */
export interface WebhookDeliverer {
  /** Takes no more messages, and gives back what is not sent in a moment. */
  close(): Promise<void>;
}

/**
 * Sends what is due, apart from all jobs, so that no receiver ever holds one up. Several processes may do so at once: a
 * message is taken by one of them, and by another one only if that has died, which may send it twice under the same id.
 */
export function startWebhookDeliverer(options: WebhookDelivererOptions): WebhookDeliverer {
  const { database, listener, log, config } = options;
  const closing = new AbortController();
  const cut = new AbortController();
  const underWay = new Map<Promise<void>, string>();
  const leaseSeconds = (config.webhooks.timeoutMs + LEASE_MARGIN_MS) / 1000;
  let timer: NodeJS.Timeout | null = null;

  const start = (delivery: ClaimedDelivery): void => {
    const work = deliver(options, delivery, cut.signal)
      .catch((error: unknown) => {
        // The database is away, most likely; the message is due again when its lease is over.
        log.warn({ err: error, delivery: delivery.id }, 'a delivery could not be recorded');
      })
      .finally(() => {
        underWay.delete(work);
        soon();
      });
    underWay.set(work, delivery.webhookId);
  };

  const look = async (): Promise<void> => {
    // Asked for first: what becomes due after this is seen by the timer, what was due before by the claim.
    const dueInMs = await nextDeliveryDueInMs(database.db);
    const free = CONCURRENCY - underWay.size;
    if (free > 0) {
      const claimed = await claimDeliveries(database.db, {
        limit: free,
        perWebhook: PER_WEBHOOK,
        busy: countBy([...underWay.values()]),
        leaseSeconds,
      });
      for (const delivery of claimed) start(delivery);
    }
    wakeIn(Math.min(dueInMs ?? RECHECK_MS, RECHECK_MS));
  };

  const wakeIn = (ms: number): void => {
    if (timer !== null) clearTimeout(timer);
    if (!closing.signal.aborted) timer = setTimeout(soon, ms);
  };

  const looking = coalesced(look, {
    onError: (error) => {
      log.warn({ err: error }, 'due deliveries could not be listed');
      wakeIn(RECHECK_MS);
    },
    signal: closing.signal,
  });
  const { soon } = looking;

  const unsubscribe = listener.subscribe(DELIVERY_TOPIC, soon);
  soon();
  return {
    close: async () => {
      unsubscribe();
      closing.abort();
      if (timer !== null) clearTimeout(timer);
      await looking.idle();
      const force = setTimeout(() => cut.abort(new Error('the worker stops')), GRACE_MS);
      await Promise.allSettled(underWay.keys());
      clearTimeout(force);
    },
  };
}

function countBy(ids: readonly string[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const id of ids) counts.set(id, (counts.get(id) ?? 0) + 1);
  return counts;
}

/** Tries one message and writes down what came of it. */
async function deliver(
  options: WebhookDelivererOptions,
  delivery: ClaimedDelivery,
  signal: AbortSignal,
): Promise<void> {
  const { config, database, version } = options;
  const { id, attempts } = delivery;
  const log = options.log.child({ delivery: id, event: delivery.event, attempt: attempts });
  const answer = await attemptDelivery(delivery, {
    secretKey: config.secretKey,
    publicUrl: config.publicUrl,
    allow: config.webhooks.allow,
    timeoutMs: config.webhooks.timeoutMs,
    version,
    signal,
  }).catch((error: unknown) => (signal.aborted ? null : { error: reasonOf(error, log) }));
  if (answer === null) return releaseDelivery(database.db, delivery);
  const status = 'status' in answer ? answer.status : null;
  const verdict = judgeDelivery({
    number: attempts,
    status,
    retryAfterMs: 'retryAfterMs' in answer ? answer.retryAfterMs : null,
    baseMs: config.webhooks.retryMs,
    random: Math.random(),
  });
  const error = 'error' in answer ? answer.error : `The receiver answered ${status}.`;
  const result: AttemptResult = { id, attempts, responseStatus: status, error };
  switch (verdict.verdict) {
    case 'delivered':
      await recordDelivered(database.db, result);
      return log.debug({ status }, 'message delivered');
    case 'again':
      await recordUndelivered(database.db, result, verdict.afterMs);
      return log.debug({ status, reason: error }, 'message not delivered; it is tried again');
    case 'failed':
      await recordUndelivered(database.db, result, null);
      return log.info({ status, reason: error }, 'message not delivered');
    case 'gone':
      await database.transaction(async (tx) => {
        await recordUndelivered(tx, result, null);
        await deactivateGoneWebhook(tx, delivery.webhookId);
      });
      return log.info({ status, webhookId: delivery.webhookId }, 'webhook deactivated');
  }
}

/** What may be told of why nothing arrived: the URL is not in it. */
function reasonOf(error: unknown, log: Logger): string {
  if (error instanceof PostError || error instanceof AppError) return error.message;
  log.error({ err: error }, 'a message could not be sent');
  return 'Muster met an unexpected error; its log says more.';
}
