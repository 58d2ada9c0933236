import Fastify from 'fastify';
import pg from 'pg';
import { z } from 'zod';

// `fork(bare-process.ts)`: a Fastify with one route per list of statements, which does them and replies with the body
// that it is given. It is told all of it in one message, answers with its URL, and ends with whoever started it.

const statement = z.object({
  text: z.string(),
  values: z.array(z.string().nullable()),
  /** Which values are made anew for each request: they have to be unique. */
  fresh: z.array(z.number()),
});
const setup = z.object({
  databaseUrl: z.string(),
  connections: z.number(),
  routes: z.array(
    z.object({
      method: z.enum(['GET', 'PATCH']),
      url: z.string(),
      statements: z.array(statement),
      body: z.unknown(),
    }),
  ),
});

process.on('disconnect', () => process.exit());
process.once('message', (message) => {
  void serve(setup.parse(message));
});

async function serve({ databaseUrl, connections, routes }: z.infer<typeof setup>): Promise<void> {
  const pool = new pg.Pool({ connectionString: databaseUrl, max: connections });
  pool.on('error', () => undefined);
  const app = Fastify();
  for (const { method, url, statements, body } of routes) {
    app.route({
      method,
      url,
      handler: async () => {
        const client = await pool.connect();
        try {
          for (const { text, values, fresh } of statements) {
            const own = values.map((value, i) => (fresh.includes(i) ? crypto.randomUUID() : value));
            await client.query(text, own);
          }
        } finally {
          client.release();
        }
        return body;
      },
    });
  }
  process.send?.({ url: await app.listen({ host: '127.0.0.1', port: 0 }) });
}
