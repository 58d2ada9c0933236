import { describe, expect, it } from 'vitest';
import { openBarrier } from '../../src/jobs/deployment/barrier.ts';

const LONG_MS = 60_000;

/** Whether it has been resolved by now. */
async function isOpen(opened: Promise<void>): Promise<boolean> {
  const pending = Symbol('pending');
  return (await Promise.race([opened, Promise.resolve(pending)])) !== pending;
}

describe('a barrier', () => {
  it('opens for all when the last one has arrived', async () => {
    const take = openBarrier(3, LONG_MS);
    const [one, two, three] = [take(), take(), take()];
    one.arrive();
    two.arrive();
    expect(await isOpen(one.opened)).toBe(false);
    three.arrive();
    await Promise.all([one.opened, two.opened, three.opened]);
  });

  it('counts each one once', async () => {
    const take = openBarrier(2, LONG_MS);
    const [one, two] = [take(), take()];
    one.arrive();
    one.arrive();
    one.leave();
    expect(await isOpen(one.opened)).toBe(false);
    two.arrive();
    await one.opened;
  });

  it('does not wait for who has left', async () => {
    const take = openBarrier(2, LONG_MS);
    const [one, two] = [take(), take()];
    two.leave();
    expect(await isOpen(one.opened)).toBe(false);
    one.arrive();
    await one.opened;
  });

  it('waits for who is late no longer than it is told to, from when the first one is ready', async () => {
    const take = openBarrier(2, 50);
    const [one] = [take(), take()];
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(await isOpen(one.opened)).toBe(false);
    const start = performance.now();
    one.arrive();
    await one.opened;
    expect(performance.now() - start).toBeGreaterThan(45);
  });
});
