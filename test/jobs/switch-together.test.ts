import { spawnSync } from 'node:child_process';
import { readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
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
const isWaiting = async (server: string): Promise<boolean> =>
  (await readFile(gitFile(server, 'muster.lock/waiting'), 'utf8').catch(() => '')) !== '';
const versions = () => Promise.all(TOGETHER.map((server) => lab.versionOn(server)));

it('servers of a batch switch together: who is ready waits a moment for who is not', async () => {
  await lab.until(await lab.deploy('b1'), 'succeeded');
  const changed = await lab.api.call('PATCH', '/app/shop/gitdeploys/Web', {
    body: { actions: { prepull: {}, postpull: {} } },
  });
  expect(changed.status).toBe(200);
  // Whoever reads its fence on this server waits until somebody writes one.
  await rm(gitFile('s1', 'muster-fence'));
  expect(spawnSync('mkfifo', [gitFile('s1', 'muster-fence')]).status).toBe(0);

  const id = await lab.deploy('b2', '', { servers: TOGETHER, gitdeploys: ['Web'] });
  await expect
    .poll(async () => (await isWaiting('s0')) && (await isWaiting('s2')), { interval: 5 })
    .toBe(true);
  expect(await versions()).toEqual(['b1', 'b1', 'b1']);
  const heldUntil = Date.now();
  await writeFile(gitFile('s1', 'muster-fence'), '0\n');
  await lab.until(id, 'succeeded');

  expect(await versions()).toEqual(['b2', 'b2', 'b2']);
  for (const server of TOGETHER) {
    // The clock of files lags a little behind.
    const { ctimeMs } = await stat(gitFile(server, 'muster-switched'));
    expect(ctimeMs).toBeGreaterThanOrEqual(heldUntil - 20);
  }
});

it('but not for a server that takes long', async () => {
  await rm(gitFile('s1', 'muster-fence'));
  expect(spawnSync('mkfifo', [gitFile('s1', 'muster-fence')]).status).toBe(0);
  const id = await lab.deploy('b3', '', { servers: TOGETHER, gitdeploys: ['Web'] });
  await expect.poll(versions).toEqual(['b3', 'b2', 'b3']);
  await writeFile(gitFile('s1', 'muster-fence'), '0\n');
  await lab.until(id, 'succeeded');
  expect(await versions()).toEqual(['b3', 'b3', 'b3']);
});
