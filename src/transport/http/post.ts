import { errors, request } from 'undici';
import type { AllowList } from './address-policy.ts';
import { type HostFaults, openPinnedAgent, type Resolve, resolveBySystem } from './pinned-agent.ts';
import { codeOf, isTlsCode } from './socket-errors.ts';
import { hostOf } from './source-url.ts';
import { authorization, withoutCredentials } from './url-credentials.ts';
import { refusedReceiver } from './webhook-url.ts';

export interface PostOptions {
  readonly url: URL;
  readonly allow: AllowList;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  /** For the whole exchange: look-up, connection, request and the head of the reply. */
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
  /** Default: the system's resolver. */
  readonly resolve?: Resolve;
}

/** How a receiver answered. */
export interface PostAnswer {
  readonly status: number;
  /** How long it wants to be left alone; null if it does not say. */
  readonly retryAfterMs: number | null;
}

/** The receiver could not be reached, or gave no answer. The message is for a person and tells no more of the URL than its host. */
export class PostError extends Error {}

/**
 * Sends a body to a URL that a user named, and reads no more of the answer than its head: what stands in an internal
 * service's reply is nobody's business. The host is looked up once and its addresses are checked, as for downloads; no
 * redirect is followed, no proxy used, and the certificate is always verified.
 * @throws {PostError} if there is no answer in time; `webhook_url_refused` for an address that is not allowed; the
 *   reason of the signal
 */
export async function post(o: PostOptions): Promise<PostAnswer> {
  const late = AbortSignal.timeout(o.timeoutMs);
  const signal = AbortSignal.any([o.signal, late]);
  try {
    return await ask({ ...o, signal });
  } catch (error) {
    if (o.signal.aborted) throw o.signal.reason;
    if (!late.aborted) throw error;
    throw new PostError(`${hostOf(o.url)} did not answer within ${o.timeoutMs / 1000} seconds.`);
  }
}

async function ask(o: PostOptions): Promise<PostAnswer> {
  const limits = { connectMs: o.timeoutMs, idleMs: o.timeoutMs, totalMs: o.timeoutMs };
  const agent = await openPinnedAgent(o.url, {
    allow: o.allow,
    resolve: o.resolve ?? resolveBySystem,
    verifyTls: true,
    limits,
    faults: FAULTS,
  });
  try {
    const { statusCode, headers, body } = await request(withoutCredentials(o.url), {
      method: 'POST',
      dispatcher: agent,
      signal: o.signal,
      headers: { ...authorization(o.url), ...o.headers },
      body: o.body,
    });
    // Cut off below; that is no error of anybody's.
    body.on('error', () => {});
    return { status: statusCode, retryAfterMs: retryAfterMs(headers['retry-after']) };
  } catch (cause) {
    throw explain(cause, o.url);
  } finally {
    await agent.destroy();
  }
}

const FAULTS: HostFaults = {
  refused: refusedReceiver,
  unresolved: (url, why, cause) =>
    new PostError(`The host ${hostOf(url)} could not be looked up (${why}).`, { cause }),
};

/** In seconds; the date that may stand there instead is not read. */
function retryAfterMs(header: string | string[] | undefined): number | null {
  return typeof header === 'string' && /^\d{1,9}$/.test(header) ? Number(header) * 1000 : null;
}

function explain(cause: unknown, url: URL): unknown {
  const host = hostOf(url);
  if (cause instanceof errors.ConnectTimeoutError || cause instanceof errors.HeadersTimeoutError) {
    return new PostError(`${host} did not answer in time.`, { cause });
  }
  const code = codeOf(cause);
  return new PostError(
    isTlsCode(code)
      ? `The certificate of ${host} is not trusted (${code}).`
      : `The connection to ${host} failed or broke off (${code}).`,
    { cause },
  );
}
