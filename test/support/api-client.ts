import { registerSecret, registerSecretsOf } from './run-output.ts';

/** A reply as a test looks at it. */
export interface Reply {
  readonly status: number;
  readonly headers: Headers;
  // biome-ignore lint/suspicious/noExplicitAny: a test says by its expectations what it expects of a body
  readonly body: any;
}

/** Calls to one Muster, with its token unless the test says otherwise. */
export type ApiClient = (
  method: string,
  path: string,
  body?: unknown,
  headers?: Record<string, string>,
) => Promise<Reply>;

/** A client of the kind that the seed's curl examples are: objects are sent as JSON, bytes as they are. */
export function createApiClient(muster: {
  readonly url: string;
  readonly token: string;
}): ApiClient {
  registerSecret('token of a client', muster.token);
  return async (method, path, body, headers = {}) => {
    registerSecretsOf(`${method} ${path}`, body);
    const isBytes = body instanceof Uint8Array;
    const response = await fetch(new URL(path, muster.url), {
      method,
      headers: {
        authorization: `Bearer ${muster.token}`,
        ...(body === undefined || body instanceof FormData
          ? {}
          : { 'content-type': isBytes ? 'application/octet-stream' : 'application/json' }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: toBody(body) }),
    });
    const text = await response.text();
    const isJson = response.headers.get('content-type')?.includes('json') === true;
    const replied = isJson ? JSON.parse(text) : text;
    registerSecretsOf(`${method} ${path}`, replied);
    return { status: response.status, headers: response.headers, body: replied };
  };
}

function toBody(body: unknown): NonNullable<RequestInit['body']> {
  if (body instanceof FormData || typeof body === 'string') return body;
  if (body instanceof Uint8Array) return new Uint8Array(body);
  return JSON.stringify(body);
}
