import { execFile } from 'node:child_process';
import { readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type ControlLab, startControlLab } from './control-lab.ts';

let lab: ControlLab;
beforeAll(async () => {
  lab = await startControlLab();
});
afterAll(() => lab.close());

const TOGETHER = ['s0', 's1', 's2'];
const gitFile = (server: string, name: string): string =>
  join(lab.api.dataDirectory, 'servers', server, 'srv/web/.git', name);
/** Whoever reads the fence of a clone on this server waits until `letGo` writes one. */
async function holdUp(server: string): Promise<void> {
  const fence = gitFile(server, 'muster-fence');
  await rm(fence);
  await promisify(execFile)('mkfifo', [fence]);
}
const letGo = (server: string): Promise<void> => writeFile(gitFile(server, 'muster-fence'), '0\n');
const isWaiting = async (server: string): Promise<boolean> =>
  (await readFile(gitFile(server, 'muster.lock/waiting'), 'utf8').catch(() => '')) !== '';
const versions = () => Promise.all(TOGETHER.map((server) => lab.versionOn(server)));

it('servers of a batch switch together: who is ready waits a moment for who is not', async () => {
  await lab.until(await lab.deploy('b1'), 'succeeded');
  const changed = await lab.api.call('PATCH', '/app/shop/gitdeploys/Web', {
    body: { actions: { prepull: {}, postpull: {} } },
  });
  expect(changed.status).toBe(200);
  await holdUp('s1');

  const id = await lab.deploy('b2', '', { servers: TOGETHER, gitdeploys: ['Web'] });
  await expect
    .poll(async () => (await isWaiting('s0')) && (await isWaiting('s2')), { interval: 5 })
    .toBe(true);
  expect(await versions()).toEqual(['b1', 'b1', 'b1']);
  const heldUntil = Date.now();
  await letGo('s1');
  await lab.until(id, 'succeeded');

  expect(await versions()).toEqual(['b2', 'b2', 'b2']);
  for (const server of TOGETHER) {
    // The clock of files lags a little behind.
    const { ctimeMs } = await stat(gitFile(server, 'muster-switched'));
    expect(ctimeMs).toBeGreaterThanOrEqual(heldUntil - 20);
  }
});

it('but not for a server that takes long', async () => {
  await holdUp('s1');
  const id = await lab.deploy('b3', '', { servers: TOGETHER, gitdeploys: ['Web'] });
  await expect.poll(versions).toEqual(['b3', 'b2', 'b3']);
  await letGo('s1');
  await lab.until(id, 'succeeded');
  expect(await versions()).toEqual(['b3', 'b3', 'b3']);
});

it('nor where there are more servers than are worked on at once', async () => {
  await holdUp('s0');
  const target = { servers: TOGETHER, gitdeploys: ['Web'] };
  const id = await lab.deploy('b1', '&concurrency=2', target);
  await expect.poll(versions).toEqual(['b3', 'b1', 'b1']);
  // They have not waited for the first one, which is let go only now.
  const [{ started_at: startedAt }] = (await lab.show(id)).batches;
  const { ctimeMs } = await stat(gitFile('s1', 'muster-switched'));
  expect(ctimeMs - Date.parse(startedAt)).toBeLessThan(2000);
  await letGo('s0');
  await lab.until(id, 'succeeded');
  expect(await versions()).toEqual(['b1', 'b1', 'b1']);
});
