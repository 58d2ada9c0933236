import { pbkdf2 } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { spoolUpload } from '../../src/depot/upload-spool.ts';

/** Run by upload-spool.test.ts as a process of its own: has uploads refused while other work delays its file operations. */
const [directory = ''] = process.argv.slice(2);

let refused = 0;
for (let round = 0; round < 300; round += 1) {
  for (let busy = 0; busy < 4; busy += 1) pbkdf2('', '', 20_000, 32, 'sha256', () => {});
  const page = new Readable({ read: () => {} });
  setImmediate(() => page.push('<!doctype html>'));
  await spoolUpload(page, { directory, maxBytes: 1000, fileType: 'zip' }).catch(() => {
    refused += 1;
  });
}
await sleep(200);
process.stdout.write(JSON.stringify({ refused, left: (await readdir(directory)).length }));
