import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ROOT, say } from './run.mjs';

const LOCK = join(ROOT, 'dist', '.bootstrap-lock');
const POLL_MS = 200;

/**
 * Let one process at a time install and build: an API and a worker that are started together on a fresh clone would
 * pull the floor from under each other. A lock whose process is dead is taken over; should two do so in the same
 * instant, the work is done twice, which is no worse than without a lock.
 * @param {() => Promise<void>} work
 */
export async function inTurn(work) {
  mkdirSync(join(ROOT, 'dist'), { recursive: true });
  let hasSaid = false;
  while (!tryLock()) {
    const holder = readHolder();
    if (holder !== undefined && !isAlive(holder)) {
      rmSync(LOCK, { force: true });
    } else {
      if (!hasSaid) {
        say('Waiting for another process that is installing or building …');
        hasSaid = true;
      }
      await sleep(POLL_MS);
    }
  }
  try {
    await work();
  } finally {
    rmSync(LOCK, { force: true });
  }
}

function tryLock() {
  try {
    writeFileSync(LOCK, String(process.pid), { flag: 'wx' });
    return true;
  } catch (error) {
    if (error.code !== 'EEXIST') {
      throw error;
    }
    return false;
  }
}

function readHolder() {
  try {
    return Number(readFileSync(LOCK, 'utf8')) || undefined;
  } catch {
    return undefined;
  }
}

/** @param {number} pid */
function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return pid !== process.pid;
  } catch (error) {
    return error.code === 'EPERM';
  }
}
