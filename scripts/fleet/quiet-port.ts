import { once } from 'node:events';
import { createServer } from 'node:net';

/** Below the ports that Linux, macOS and the BSDs give to whoever asks for any. */
const FIRST = 12_000;
const LAST = 32_000;

/**
 * Finds a port of 127.0.0.1 for a server that will be stopped and started again on it. One of those that the system
 * hands out would be taken meanwhile by any connection that some other process opens.
 */
export async function findQuietPort(): Promise<number> {
  for (;;) {
    const port = FIRST + Math.floor(Math.random() * (LAST - FIRST));
    if (await isFree(port)) return port;
  }
}

/** Whether a server could listen on a port of 127.0.0.1 now. */
export async function isFree(port: number): Promise<boolean> {
  const probe = createServer();
  try {
    probe.listen(port, '127.0.0.1');
    await once(probe, 'listening');
    return true;
  } catch {
    return false;
  } finally {
    probe.close();
  }
}
