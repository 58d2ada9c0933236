import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';

/** A request that Muster refused, in its own words. */
class ApiError extends Error {
  readonly code: string;
  readonly details: unknown;

  constructor(
    request: string,
    answer: { status: number; code: string; message: string; details: unknown },
  ) {
    super(`${request} was answered ${answer.status} ${answer.code}: ${answer.message}`);
    this.code = answer.code;
    this.details = answer.details;
  }
}

/** What a request carries. */
export interface ApiRequest<T> {
  readonly query?: Readonly<Record<string, string | number | boolean>>;
  /** An object goes as JSON; a Blob as it is, with its type. */
  readonly body?: unknown;
  /** What is read of the answer; all else in it is left alone. */
  readonly answer: z.ZodType<T>;
}

/** Muster's HTTP API, which is all that the demo knows of it. */
export interface Api {
  /** @throws {ApiError} */
  send<T>(
    method: 'GET' | 'PUT' | 'POST' | 'PATCH',
    path: string,
    request: ApiRequest<T>,
  ): Promise<T>;
  /**
   * Sends what starts a job and waits for the job's end, polling it.
   * @param request `onResults` is told of all that the job has said so far
   * @throws {ApiError} the request's, or the job's own error
   */
  finish(
    method: 'PUT' | 'POST',
    path: string,
    request: Omit<ApiRequest<unknown>, 'answer'> & {
      readonly onResults?: (results: readonly JobResult[]) => void;
    },
  ): Promise<void>;
}

export interface ApiOptions {
  /** `http://host:port` */
  readonly address: string;
  readonly token: string;
  readonly signal: AbortSignal;
  readonly onRequest: (line: string) => void;
}

const REQUEST_TIMEOUT_MS = 60_000;
const JOB_TIMEOUT_MS = 180_000;
const POLL_MS = 100;

const errorAnswer = z.object({
  error: z.object({ code: z.string(), message: z.string(), details: z.unknown().optional() }),
});
const startedAnswer = z.object({ job: z.object({ job_id: z.string() }) });
const jobAnswer = z.object({
  status: z.string(),
  error: z
    .object({ code: z.string(), message: z.string(), details: z.unknown().optional() })
    .nullish(),
  results: z.array(z.object({ kind: z.string() })).default([]),
});
/** Something that a job has told on its way. */
export type JobResult = z.infer<typeof jobAnswer>['results'][number];

/** A client of one Muster. */
export function createApi(options: ApiOptions): Api {
  const send = async <T>(method: string, path: string, request: ApiRequest<T>): Promise<T> => {
    const answer = request.answer.safeParse(await call(options, method, path, request));
    if (answer.success) return answer.data;
    const problems = z.prettifyError(answer.error);
    throw new Error(`${method} ${path} was answered otherwise than its contract says. ${problems}`);
  };
  return {
    send,
    finish: async (method, path, { onResults, ...request }) => {
      const { job } = await send(method, path, { ...request, answer: startedAnswer });
      const jobPath = `/job/${job.job_id}`;
      const deadline = Date.now() + JOB_TIMEOUT_MS;
      for (;;) {
        const { status, error, results } = await send('GET', jobPath, {
          query: { results: true },
          answer: jobAnswer,
        });
        onResults?.(results);
        if (status === 'succeeded') return;
        if (status === 'failed' || status === 'cancelled') {
          const { code = status, message = `The job was ${status}.`, details } = error ?? {};
          throw new ApiError(`${method} ${path}`, { status: 202, code, message, details });
        }
        if (Date.now() > deadline) {
          throw new Error(
            `The job of ${method} ${path} is still ${status} after ${JOB_TIMEOUT_MS / 1000} s.`,
          );
        }
        await sleep(POLL_MS, undefined, { signal: options.signal });
      }
    },
  };
}

async function call(
  options: ApiOptions,
  method: string,
  path: string,
  { query = {}, body }: Omit<ApiRequest<unknown>, 'answer'>,
): Promise<unknown> {
  const url = new URL(path, options.address);
  for (const [name, value] of Object.entries(query)) url.searchParams.set(name, String(value));
  const request = `${method} ${url.pathname}${url.search}`;
  const response = await fetch(url, {
    method,
    headers: {
      authorization: `Bearer ${options.token}`,
      ...(body === undefined || body instanceof Blob ? {} : { 'content-type': 'application/json' }),
    },
    ...(body === undefined ? {} : { body: body instanceof Blob ? body : JSON.stringify(body) }),
    signal: AbortSignal.any([options.signal, AbortSignal.timeout(REQUEST_TIMEOUT_MS)]),
  }).catch((cause: unknown) => {
    options.signal.throwIfAborted();
    throw new Error(`${request} had no answer.`, { cause });
  });
  const text = await response.text();
  options.onRequest(`${request} → ${response.status}`);
  const answer = parseJson(text);
  if (response.ok) return answer;
  const refused = errorAnswer.safeParse(answer);
  const { code, message, details } = refused.success
    ? refused.data.error
    : { code: 'unknown', message: text.slice(0, 500), details: undefined };
  throw new ApiError(request, { status: response.status, code, message, details });
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
