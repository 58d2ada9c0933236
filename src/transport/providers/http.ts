import type { z } from 'zod';
import { AppError } from '../../domain/errors.ts';
import { apiBase, secretsOf, withoutSecrets } from '../../domain/gitprovider.ts';
import type { ProviderAccess } from './client.ts';

/** What an answer of a provider's is, whatever its status below 500. */
export interface ProviderAnswer {
  readonly status: number;
  /** Parsed JSON; null if there was none. */
  readonly body: unknown;
}

export interface ProviderCall {
  readonly method: 'GET' | 'POST';
  /** Behind the base of the API, with names percent-encoded. */
  readonly path: string;
  readonly body?: unknown;
  readonly signal: AbortSignal;
}

/** A provider over HTTP. */
export interface ProviderHttp {
  /** @throws {AppError} `gitprovider_unreachable` if there is no answer, or none that an API gives */
  send(call: ProviderCall): Promise<ProviderAnswer>;
  /** The error of an answer that says no, with the provider's own words. @param hint a sentence on what to do */
  refused(answer: ProviderAnswer, hint?: string): AppError;
  /**
   * What an answer holds.
   * @throws {AppError} `gitprovider_refused` if the provider said no; `gitprovider_unreachable` if it answers nonsense
   */
  read<T>(answer: ProviderAnswer, schema: z.ZodType<T>): T;
}

export interface ProviderHttpOptions {
  readonly access: ProviderAccess;
  /** Authentication, and what else this API wants to be told. */
  readonly headers: Readonly<Record<string, string>>;
  /** The sentences in the body of an error, in the form that this provider has. */
  readonly wordsOf: (body: unknown) => readonly string[];
}

const TIMEOUT_MS = 30_000;
const MAX_ANSWER_BYTES = 1024 ** 2;
const HINT = 'Correct what it says, then try again.';

/** Opens a provider's REST API. It follows no redirects: a token must not go where nobody meant it to. */
export function openProviderHttp({ access, headers, wordsOf }: ProviderHttpOptions): ProviderHttp {
  const base = apiBase(access.kind, access.url);
  const title = `Git provider \`${access.name}\``;
  const unreachable = (why: string, cause?: unknown): AppError =>
    new AppError(
      'gitprovider_unreachable',
      `${title} at ${base} ${why}. Check that \`url\` is the address of its API and that it is up.`,
      { cause, retryable: true, details: { gitprovider: access.name, url: base } },
    );
  const refused = ({ status, body }: ProviderAnswer, hint: string = HINT): AppError => {
    const words = withoutSecrets(
      wordsOf(body)
        .map((sentence) => sentence.replace(/\.$/, ''))
        .join('; '),
      secretsOf(access.auth),
    );
    return new AppError(
      'gitprovider_refused',
      `${title} refused (HTTP ${status})${words === '' ? '' : `: ${words}`}${/[.!?]$/.test(words) ? '' : '.'} ${hint}`,
      { details: { gitprovider: access.name, url: base, status, words } },
    );
  };
  return {
    async send({ method, path, body, signal }) {
      let response: Response;
      let text: string;
      try {
        response = await fetch(base + path, {
          method,
          headers: {
            accept: 'application/json',
            'user-agent': 'muster',
            ...headers,
            ...(body === undefined ? {} : { 'content-type': 'application/json' }),
          },
          ...(body === undefined ? {} : { body: JSON.stringify(body) }),
          redirect: 'manual',
          signal: AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]),
        });
        text = await readText(response);
      } catch (cause) {
        signal.throwIfAborted();
        throw unreachable(`does not answer (${reasonOf(cause)})`, cause);
      }
      const { status } = response;
      if (status >= 500) throw unreachable(`is in trouble (HTTP ${status})`);
      if (status >= 300 && status < 400) {
        throw unreachable(`answers with a redirect (HTTP ${status}), which is not followed`);
      }
      return { status, body: parseJson(text) };
    },
    refused,
    read(answer, schema) {
      if (answer.status >= 400) throw refused(answer);
      const parsed = schema.safeParse(answer.body);
      if (parsed.success) return parsed.data;
      throw unreachable('does not answer as such an API does', parsed.error);
    },
  };
}

/** What a provider's API wants of users with passwords. */
export function basicAuthorization(username: string, password: string): string {
  return `Basic ${Buffer.from(`${username}:${password}`, 'utf8').toString('base64')}`;
}

async function readText(response: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let sizeBytes = 0;
  for await (const chunk of response.body ?? []) {
    sizeBytes += chunk.length;
    if (sizeBytes > MAX_ANSWER_BYTES) throw new Error('its answer is too long');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** Node says only "fetch failed"; why stands in the causes. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return 'no reason given';
  if (error.name === 'TimeoutError') return `no answer within ${TIMEOUT_MS / 1000} seconds`;
  if (error.cause instanceof Error) return reasonOf(error.cause);
  if (error instanceof AggregateError && error.errors.length > 0) return reasonOf(error.errors[0]);
  return error.message || error.name;
}
