import { createHash } from 'node:crypto';
import type { Gate, Victim } from './gate.ts';
import { startProxy, type TcpProxy } from './proxy.ts';
import { splitCommands } from './redis-commands.ts';

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
        for await (const { bytes, args } of splitCommands(chunks)) {
          const name = nameOf(args);
          if (name !== null) {
            current = name;
            const boundary = { source: 'redis', moment: 'before', name, victim } as const;
            if ((await gate.pass(boundary)) === 'drop') return;
          }
          to.write(bytes);
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

function nameOf([command, script]: readonly Buffer[]): string | null {
  const verb = command?.toString('latin1').toLowerCase();
  if (script === undefined) return null;
  if (verb === 'evalsha') return known.get(script.toString('latin1').toLowerCase()) ?? null;
  if (verb !== 'eval') return null;
  const body = script.toString('utf8');
  const name = SCRIPTS.find(([, pattern]) => pattern.test(body))?.[0] ?? null;
  if (name !== null) known.set(createHash('sha1').update(script).digest('hex'), name);
  return name;
}
