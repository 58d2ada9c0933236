import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { expect, test } from 'vitest';
import { makeSlowWay } from '../../bench/link/slow-way.ts';

const KIBIBYTE = 1024;

test('what goes a slow way comes out whole and in order, and is counted', async () => {
  const way = makeSlowWay({ delayMs: 1, bytesPerMs: 100 * KIBIBYTE });
  const sent = Buffer.alloc(1000 * KIBIBYTE, 'abcdefg');
  const chunks = Array.from({ length: 10 }, (_, i) =>
    sent.subarray(i * 100 * KIBIBYTE, (i + 1) * 100 * KIBIBYTE),
  );
  const got = await buffer(Readable.from(chunks).pipe(way.through()));
  expect(got.equals(sent)).toBe(true);
  expect(way.bytes).toBe(sent.length);
});

test('a slow way takes no less than its delay and what its bandwidth gives', async () => {
  const way = makeSlowWay({ delayMs: 20, bytesPerMs: KIBIBYTE });
  const start = performance.now();
  const both = [1, 2].map(() =>
    buffer(Readable.from([Buffer.alloc(40 * KIBIBYTE)]).pipe(way.through())),
  );
  await Promise.all(both);
  // Two connections share the bandwidth; timers may fire a millisecond early.
  expect(performance.now() - start).toBeGreaterThan(98);
});

test('nothing at all ends a slow way at once', async () => {
  const way = makeSlowWay({ delayMs: 1, bytesPerMs: KIBIBYTE });
  const got = await buffer(Readable.from([]).pipe(way.through()));
  expect(got).toHaveLength(0);
});
