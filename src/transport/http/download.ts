import { Readable } from 'node:stream';
import { type Dispatcher, errors, request } from 'undici';
import { counted } from '../../domain/counted.ts';
import { AppError } from '../../domain/errors.ts';
import type { AllowList } from './address-policy.ts';
import {
  type DownloadLimits,
  type HostFaults,
  openPinnedAgent,
  type Resolve,
  resolveBySystem,
} from './pinned-agent.ts';
import { codeOf, isTlsCode } from './socket-errors.ts';
import { assertSourceUrl, hostOf, refusedAddress, showUrl } from './source-url.ts';
import { authorization, withoutCredentials } from './url-credentials.ts';

export interface DownloadOptions {
  readonly url: URL;
  readonly allow: AllowList;
  /** False accepts any TLS certificate, in this download alone. */
  readonly verifyTls: boolean;
  readonly maxBytes: number;
  readonly signal: AbortSignal;
  /** Told after every chunk. @param totalBytes null if the server does not say */
  readonly onProgress?: (receivedBytes: number, totalBytes: number | null) => void;
  readonly limits?: Partial<DownloadLimits>;
  /** Default: the system's resolver. */
  readonly resolve?: Resolve;
}

const MAX_REDIRECTS = 5;
const REDIRECTS: readonly number[] = [301, 302, 303, 307, 308];

const DEFAULT_LIMITS: DownloadLimits = {
  connectMs: 10_000,
  idleMs: 60_000,
  totalMs: 6 * 3600 * 1000,
};

/**
 * Fetches a URL that a user named and hands its content to `consume` as it comes, with back-pressure.
 *
 * Muster stands where its users may not: so each host on the way, redirects included, is looked up once, its addresses
 * are checked, and the connection goes to these very addresses. Nothing is decompressed on the way, no proxy and
 * no cookies are used, and credentials in a URL go to that URL's origin alone.
 * @throws {AppError} `indirect_url_refused`, `download_failed`, `payload_too_large`, and what `consume` throws; the reason of the signal
 */
export async function download<T>(
  o: DownloadOptions,
  consume: (content: Readable) => Promise<T>,
): Promise<T> {
  const limits = { ...DEFAULT_LIMITS, ...o.limits };
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(tookTooLong(o.url, limits)), limits.totalMs);
  try {
    const signal = AbortSignal.any([o.signal, late.signal]);
    return await follow({ ...o, limits, signal }, consume);
  } catch (error) {
    if (o.signal.aborted) throw o.signal.reason;
    throw late.signal.aborted ? late.signal.reason : error;
  } finally {
    clearTimeout(timer);
  }
}

const FAULTS: HostFaults = {
  refused: refusedAddress,
  unresolved: (url, why, cause) =>
    new AppError(
      'download_failed',
      `The host of ${showUrl(url)} could not be looked up (${why}); check the name.`,
      { details: { url: showUrl(url), reason: why }, cause },
    ),
};

interface FetchOptions extends DownloadOptions {
  readonly limits: DownloadLimits;
}

/** One round for each redirect, each with an agent of its own. */
async function follow<T>(o: FetchOptions, consume: (content: Readable) => Promise<T>): Promise<T> {
  let { url } = o;
  for (let redirects = 0; redirects <= MAX_REDIRECTS; redirects += 1) {
    assertSourceUrl(url, o.allow);
    const agent = await openPinnedAgent(url, {
      allow: o.allow,
      resolve: o.resolve ?? resolveBySystem,
      verifyTls: o.verifyTls,
      limits: o.limits,
      faults: FAULTS,
    });
    try {
      const answer = await ask(url, { agent, signal: o.signal });
      const next = redirectOf(answer, url);
      if (next === null) {
        const totalBytes = acceptedLength(answer, { url, maxBytes: o.maxBytes });
        const content = Readable.from(metered(answer, { ...o, url, totalBytes }), {
          objectMode: false,
        });
        // Whoever consumes it hears of its errors; with nobody there they must not end the process.
        content.on('error', () => {});
        return await consume(content);
      }
      url = next;
    } finally {
      // Ends the connection whether or not the answer was read.
      await agent.destroy();
    }
  }
  throw failed(o.url, `it redirects more than ${MAX_REDIRECTS} times`);
}

async function ask(
  url: URL,
  o: { readonly agent: Dispatcher; readonly signal: AbortSignal },
): Promise<Dispatcher.ResponseData> {
  try {
    return await request(withoutCredentials(url), {
      dispatcher: o.agent,
      signal: o.signal,
      headers: {
        accept: '*/*',
        // What comes compressed all the same is refused: its real size is not known before it is too late.
        'accept-encoding': 'identity',
        'user-agent': 'muster',
        ...authorization(url),
      },
    });
  } catch (cause) {
    throw explain(cause, url);
  }
}

/** Where an answer sends on to; null if it is no redirect. */
function redirectOf(answer: Dispatcher.ResponseData, from: URL): URL | null {
  if (!REDIRECTS.includes(answer.statusCode)) return null;
  const location = [answer.headers['location']].flat()[0];
  if (location === undefined || !URL.canParse(location, from.href)) {
    throw failed(from, 'it redirects to nowhere');
  }
  const to = new URL(location, from);
  if (from.protocol === 'https:' && to.protocol === 'http:') {
    throw failed(from, 'it redirects from https to http, which anybody on the way could change');
  }
  if (to.origin === from.origin && to.username === '' && to.password === '') {
    to.username = from.username;
    to.password = from.password;
  }
  return to;
}

/** The length that an answer announces, or null; refuses what is not the plain file. */
function acceptedLength(
  { statusCode, headers }: Dispatcher.ResponseData,
  o: { readonly url: URL; readonly maxBytes: number },
): number | null {
  if (statusCode !== 200) throw failed(o.url, `the server answers ${statusCode}`);
  const encoding = [headers['content-encoding']].flat().join(',').trim().toLowerCase();
  if (encoding !== '' && encoding !== 'identity') {
    throw failed(o.url, 'the server sends it with a Content-Encoding although it was asked not to');
  }
  const length = headers['content-length'];
  if (typeof length !== 'string' || !/^\d{1,15}$/.test(length)) return null;
  if (Number(length) > o.maxBytes) throw tooLarge(o.maxBytes);
  return Number(length);
}

async function* metered(
  answer: Dispatcher.ResponseData,
  o: FetchOptions & { readonly totalBytes: number | null },
): AsyncGenerator<Buffer> {
  let receivedBytes = 0;
  try {
    for await (const chunk of answer.body as AsyncIterable<Buffer>) {
      receivedBytes += chunk.length;
      if (receivedBytes > o.maxBytes) throw tooLarge(o.maxBytes);
      o.onProgress?.(receivedBytes, o.totalBytes);
      yield chunk;
    }
  } catch (cause) {
    throw explain(cause, o.url);
  }
}

function explain(cause: unknown, url: URL): unknown {
  if (cause instanceof AppError) return cause;
  if (cause instanceof errors.ConnectTimeoutError) {
    return failed(url, 'the server does not take the connection in time', cause);
  }
  if (cause instanceof errors.HeadersTimeoutError || cause instanceof errors.BodyTimeoutError) {
    return failed(url, 'the server has gone silent', cause);
  }
  const code = codeOf(cause);
  if (isTlsCode(code)) {
    const message = `The certificate of ${hostOf(url)} is not trusted (${code}); correct it there, or give verify=false.`;
    return new AppError('download_failed', message, {
      details: { url: showUrl(url), reason: code },
      cause,
    });
  }
  return failed(url, `the connection failed or broke off (${code})`, cause);
}

function failed(url: URL, why: string, cause?: unknown): AppError {
  return new AppError(
    'download_failed',
    `${showUrl(url)} could not be downloaded: ${why}. The build is as it was; upload it again when that is settled.`,
    { details: { url: showUrl(url), reason: why }, cause },
  );
}

function tookTooLong(url: URL, limits: DownloadLimits): AppError {
  return failed(
    url,
    `it was not complete after ${counted(Math.round(limits.totalMs / 1000), 'second')}`,
  );
}

function tooLarge(maxBytes: number): AppError {
  return new AppError(
    'payload_too_large',
    `The download is larger than ${counted(maxBytes, 'byte')}; the setting MUSTER_UPLOAD_MAX_BYTES allows more.`,
    { details: { max_bytes: maxBytes } },
  );
}
