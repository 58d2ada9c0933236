import { open } from 'node:fs/promises';
import type { Writable } from 'node:stream';

/**
 * Opens a new file for writing, mode 600. It is there when this resolves: a stream that opens its file by itself may be
 * given up, and the file removed, before the file comes into being and then stays.
 * @throws {Error} `EEXIST` if there is one, and whatever else the file system says
 */
export async function openNewFile(path: string): Promise<Writable> {
  const file = await open(path, 'wx', 0o600);
  return file.createWriteStream();
}
