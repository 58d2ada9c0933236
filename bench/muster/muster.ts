import { randomBytes } from 'node:crypto';
import { openAsBlob } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import pg from 'pg';
import { z } from 'zod';
import { startMusterProcess } from '../../test/chaos/processes.ts';
import { createApiClient } from '../../test/support/api-client.ts';
import { embeddedDatabaseUrl } from '../../test/support/embedded-database.ts';
import type { Bench } from '../bench.ts';

/** The Muster that is measured: the built program with its own PostgreSQL, in a process of its own, as `npm start` runs it. */
export interface BenchMuster {
  readonly url: string;
  readonly token: string;
  readonly pid: number;
  /** @throws {Error} with the reply, unless it is one of success */
  call(method: string, path: string, body?: unknown): Promise<unknown>;
  /** As `call`, for what starts a job: waits until that has succeeded, however long it takes. */
  finish(method: string, path: string, body?: unknown): Promise<unknown>;
  /** Uploads an archive and waits until the build is stored. */
  upload(path: string, archive: string): Promise<void>;
  sql<T extends pg.QueryResultRow>(text: string, values?: readonly unknown[]): Promise<T[]>;
  /** For measuring what PostgreSQL alone takes. */
  readonly databaseUrl: string;
  /** Bytes of memory that the process has, and has had at most since `forgetPeakMemory`. */
  memory(): Promise<{ readonly now: number; readonly peak: number }>;
  forgetPeakMemory(): Promise<void>;
}

/** The longest that one reply is held back. */
const WAIT_SECONDS = 200;
const JOB_TIMEOUT_MS = 1_200_000;
const MAX_OUTPUT_CHARACTERS = 50_000;
const jobReply = z.object({ job: z.object({ job_id: z.string(), status: z.string() }) });
const job = z.object({ status: z.string(), error: z.unknown().optional() });

export async function startBenchMuster(
  bench: Bench,
  settings: Readonly<Record<string, string>> = {},
): Promise<BenchMuster> {
  const dataDirectory = join(await bench.directory('muster'), 'data');
  const token = randomBytes(16).toString('hex');
  let output = '';
  const process_ = await startMusterProcess(
    'dist/workers/embedded.js',
    {
      MUSTER_DATA_DIR: dataDirectory,
      MUSTER_PORT: '0',
      MUSTER_ADMIN_TOKEN: token,
      ...settings,
    },
    (text) => {
      // Of what comes later nothing is of use, and keeping it would take time from what is measured.
      if (output.length < MAX_OUTPUT_CHARACTERS) output += text;
    },
  );
  bench.onClose(async () => {
    await process_.stop();
  });
  const databaseUrl = await embeddedDatabaseUrl(dataDirectory, output);
  const pool = new pg.Pool({ connectionString: databaseUrl, max: 2 });
  pool.on('error', () => undefined);
  bench.onClose(() => pool.end());
  const { url, pid } = process_;
  const request = createApiClient({ url, token });
  const call: BenchMuster['call'] = async (method, path, body) => {
    const reply = await request(method, path, body);
    if (reply.status < 300) return reply.body;
    throw new Error(`${method} ${path}: ${reply.status} ${JSON.stringify(reply.body)}`);
  };
  const untilOver = async (id: string): Promise<void> => {
    const end = performance.now() + JOB_TIMEOUT_MS;
    for (;;) {
      bench.signal.throwIfAborted();
      const { status, error } = job.parse(await call('GET', `/job/${id}`));
      if (status === 'succeeded') return;
      if (status === 'failed' || status === 'cancelled') {
        throw new Error(`Job ${id} has ${status}: ${JSON.stringify(error)}`);
      }
      if (performance.now() > end) throw new Error(`Job ${id} does not end.`);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  };
  return {
    url,
    token,
    pid,
    databaseUrl,
    call,
    finish: async (method, path, body) => {
      const separator = path.includes('?') ? '&' : '?';
      const reply = await call(method, `${path}${separator}wait=${WAIT_SECONDS}`, body);
      const started = jobReply.safeParse(reply);
      if (started.success && started.data.job.status !== 'succeeded') {
        await untilOver(started.data.job.job_id);
      }
      return reply;
    },
    upload: async (path, archive) => {
      const response = await fetch(new URL(path, url), {
        method: 'POST',
        headers: { authorization: `Bearer ${token}`, 'content-type': 'application/gzip' },
        body: await openAsBlob(archive),
        signal: AbortSignal.any([bench.signal, AbortSignal.timeout(JOB_TIMEOUT_MS)]),
      });
      const reply: unknown = await response.json();
      if (!response.ok) throw new Error(`POST ${path}: ${JSON.stringify(reply)}`);
      await untilOver(jobReply.parse(reply).job.job_id);
    },
    sql: async (text, values = []) => (await pool.query(text, [...values])).rows,
    memory: () => readMemory(pid),
    forgetPeakMemory: () => writeFile(`/proc/${pid}/clear_refs`, '5'),
  };
}

/** Source: proc(5), `VmRSS` and `VmHWM` of status, and clear_refs. */
async function readMemory(pid: number): Promise<{ now: number; peak: number }> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  const bytesOf = (name: string): number =>
    Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1]) * 1024;
  return { now: bytesOf('VmRSS'), peak: bytesOf('VmHWM') };
}
