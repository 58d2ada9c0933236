import type { Gate, Victim } from './gate.ts';
import { startProxy, type TcpProxy } from './proxy.ts';

/** What is no step of a deployment: signs of life, and what workers do now and then by themselves. */
const NOT_COUNTED = [
  /^update jobs set lease_expires_at/,
  /^update leases l set expires_at = now\(\) \+/,
  /webhook/,
  /idempotency/,
  /^delete from/,
];

/**
 * Passes the connections of one process on to PostgreSQL, and tells the gate of every statement that writes: before it
 * is sent, and when it is done but its answer is not yet passed on.
 */
export function startPostgresProxy(
  target: () => number,
  gate: Gate,
  victim: Victim,
): Promise<TcpProxy> {
  return startProxy(target, () => {
    // What was asked for and is not answered yet: names of writes, or null for all else, one for each ReadyForQuery.
    let current: string | null = null;
    return {
      fromClient: async (chunks, to) => {
        let isStarted = false;
        let rest: Buffer = Buffer.alloc(0);
        for await (const chunk of chunks) {
          rest = Buffer.concat([rest, chunk]);
          for (;;) {
            const headBytes = isStarted ? 5 : 4;
            if (rest.length < headBytes) break;
            const bytes = rest.readInt32BE(headBytes - 4) + headBytes - 4;
            if (rest.length < bytes) break;
            const message = rest.subarray(0, bytes);
            rest = rest.subarray(bytes);
            const name = isStarted ? nameOf(message) : null;
            isStarted = true;
            if (name !== null) {
              current = name;
              const verdict = await gate.pass({
                source: 'postgresql',
                moment: 'before',
                name,
                victim,
              });
              if (verdict === 'drop') return;
            }
            to.write(message);
          }
        }
      },
      fromServer: async (chunks, to) => {
        for await (const chunk of chunks) {
          const name = current;
          // ReadyForQuery, the last message of an answer.
          if (name !== null && chunk.length >= 6 && chunk[chunk.length - 6] === 0x5a) {
            current = null;
            const boundary = { source: 'postgresql', moment: 'after', name, victim } as const;
            if ((await gate.pass(boundary)) === 'drop') return;
          }
          to.write(chunk);
        }
      },
    };
  });
}

/** The name of a statement that writes, or null. */
function nameOf(message: Buffer): string | null {
  const type = String.fromCharCode(message[0] ?? 0);
  if (type !== 'P' && type !== 'Q') return null;
  const texts = message.subarray(5).toString('utf8').split('\0');
  const sql = ((type === 'P' ? texts[1] : texts[0]) ?? '')
    .toLowerCase()
    .replaceAll('"public".', '')
    .replaceAll('"', '')
    .replaceAll(/\s+/g, ' ')
    .trim();
  if (NOT_COUNTED.some((pattern) => pattern.test(sql))) return null;
  if (sql === 'commit') return 'commit';
  if (/^update jobs set status = 'running'/.test(sql)) return 'claim job';
  const write = /^(?:with .*?\b)?(insert into|update) (\w+)/.exec(sql);
  return write === null ? null : `${write[1]} ${write[2]}`;
}
