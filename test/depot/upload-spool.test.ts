import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, it, onTestFinished } from 'vitest';

const PROBE = join(import.meta.dirname, 'upload-spool-probe.ts');

it('leaves nothing of an upload that is refused at its first bytes, however late the file comes into being', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'muster-spool-'));
  onTestFinished(() => rm(directory, { recursive: true, force: true }));
  // Many threads: that is where opening a file and removing it overtake each other.
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ['--import', 'tsx', PROBE, directory],
    { env: { ...process.env, UV_THREADPOOL_SIZE: '16' } },
  );
  expect(JSON.parse(stdout)).toEqual({ refused: 300, left: 0 });
});
