import { open } from 'node:fs/promises';
import type { Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';

/**
 * Streams into a new file, mode 600, through `meter` if there is one; memory does not grow with it. The file is there
 * before the first byte is read: a stream that opens it by itself may be given up, and its file removed, before the
 * file comes into being and then stays.
 * @throws what the source, the meter or the file system throws; `EEXIST` if the file is there. The file is left to the caller
 */
export async function streamToFile(
  source: Readable,
  path: string,
  meter?: Transform,
): Promise<void> {
  // It may fail before the pipeline listens; the pipeline hears of that all the same.
  source.once('error', () => {});
  const file = await open(path, 'wx', 0o600);
  const target = file.createWriteStream();
  await (meter === undefined ? pipeline(source, target) : pipeline(source, meter, target));
}
