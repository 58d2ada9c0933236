import { createHash } from 'node:crypto';
import type { Gate, Victim } from './gate.ts';
import { startProxy, type TcpProxy } from './proxy.ts';

/** How BullMQ's scripts introduce themselves. */
const SCRIPTS: readonly (readonly [string, RegExp])[] = [
  ['add ring', /Adds a (?:delayed |standard )?job to the queue/i],
  ['take ring', /Move next job to be processed to active/i],
  ['finish ring', /Move job from active to a finished status/i],
];

/**
 * Passes the connections of one process on to Redis, and tells the gate of every message that is put into the queue,
 * taken from it or done with: before it is sent, and when it is done but its answer is not yet passed on.
 */
export function startRedisProxy(
  target: () => number,
  gate: Gate,
  victim: Victim,
): Promise<TcpProxy> {
  return startProxy(target, () => {
    let current: string | null = null;
    return {
      fromClient: async (chunks, to) => {
        for await (const chunk of chunks) {
          const name = nameOf(chunk.toString('latin1'));
          if (name !== null) {
            current = name;
            const boundary = { source: 'redis', moment: 'before', name, victim } as const;
            if ((await gate.pass(boundary)) === 'drop') return;
          }
          to.write(chunk);
        }
      },
      fromServer: async (chunks, to) => {
        for await (const chunk of chunks) {
          const name = current;
          if (name !== null) {
            current = null;
            const boundary = { source: 'redis', moment: 'after', name, victim } as const;
            if ((await gate.pass(boundary)) === 'drop') return;
          }
          to.write(chunk);
        }
      },
    };
  });
}

/** Scripts that were sent in full once go by their hash afterwards. */
const known = new Map<string, string>();

function nameOf(text: string): string | null {
  const hash = /evalsha\r\n\$40\r\n([0-9a-f]{40})/i.exec(text)?.[1];
  if (hash !== undefined) return known.get(hash) ?? null;
  const script = /\r\neval\r\n\$(\d+)\r\n/i.exec(text);
  if (script === null) return null;
  const start = script.index + script[0].length;
  const body = text.slice(start, start + Number(script[1]));
  const name = SCRIPTS.find(([, pattern]) => pattern.test(body))?.[0] ?? null;
  if (name !== null) known.set(createHash('sha1').update(body, 'latin1').digest('hex'), name);
  return name;
}
