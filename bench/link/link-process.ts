import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { pipeline } from 'node:stream';
import { z } from 'zod';
import type { LinkSpeed } from './link.ts';
import { makeSlowWay, type SlowWay } from './slow-way.ts';

// The process behind link.ts: `fork(link-process.ts, [speed])`. It ends with whoever started it.

const speed: LinkSpeed = z
  .object({ roundTripMs: z.number(), megabitsPerSecond: z.number() })
  .parse(JSON.parse(process.argv[2] ?? ''));
const question = z.object({
  number: z.number(),
  server: z.string().optional(),
  port: z.number().optional(),
});

const ways = new Map<string, { readonly to: SlowWay; readonly from: SlowWay }>();

process.on('disconnect', () => process.exit());
process.on('message', (message) => {
  void reply(question.parse(message));
});

async function reply({ number, server, port }: z.infer<typeof question>): Promise<void> {
  const answer =
    server === undefined || port === undefined ? countBytes() : [await openWay(server, port)];
  process.send?.({ number, answer });
}

function countBytes(): number[] {
  const all = [...ways.values()];
  return [
    all.reduce((sum, { to }) => sum + to.bytes, 0),
    all.reduce((sum, { from }) => sum + from.bytes, 0),
  ];
}

async function openWay(name: string, port: number): Promise<number> {
  const direction = {
    delayMs: speed.roundTripMs / 2,
    bytesPerMs: (speed.megabitsPerSecond * 1_000_000) / 8 / 1000,
  };
  const way = ways.get(name) ?? { to: makeSlowWay(direction), from: makeSlowWay(direction) };
  ways.set(name, way);
  const server = createServer({ noDelay: true, allowHalfOpen: true }, (client) => {
    const upstream = connect({ host: '127.0.0.1', port, noDelay: true, allowHalfOpen: true });
    // A connection that breaks off ends both of its sides.
    const end = (error: unknown): void => {
      if (error === undefined || error === null) return;
      client.destroy();
      upstream.destroy();
    };
    // Opening a connection takes no time here, which favors whoever opens many.
    pipeline(client, way.to.through(), upstream, end);
    pipeline(upstream, way.from.through(), client, end);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  return typeof address === 'object' && address !== null ? address.port : 0;
}
