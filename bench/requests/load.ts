import { Pool } from 'undici';

/** What is asked again and again. */
export interface Load {
  readonly url: string;
  readonly method: 'GET' | 'PATCH';
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | null;
  readonly connections: number;
  readonly durationMs: number;
}

/** Asks as fast as answers come, on so many connections at once. @returns answers per second @throws if one is a failure */
export async function putLoadOn(load: Load): Promise<number> {
  const pool = new Pool(load.url, { connections: load.connections });
  const start = performance.now();
  let answers = 0;
  const client = async (): Promise<void> => {
    while (performance.now() - start < load.durationMs) {
      const { statusCode, body } = await pool.request({
        method: load.method,
        path: load.path,
        headers: load.headers,
        body: load.body,
      });
      const text = await body.text();
      if (statusCode >= 300) throw new Error(`${load.method} ${load.path}: ${statusCode} ${text}`);
      answers += 1;
    }
  };
  try {
    await Promise.all(Array.from({ length: load.connections }, client));
    return answers / ((performance.now() - start) / 1000);
  } finally {
    await pool.close();
  }
}
