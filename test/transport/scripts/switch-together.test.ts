import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { GO, READY } from '../../../src/remote/await-go.ts';
import { switchReleaseScript } from '../../../src/remote/releases/switch.ts';
import type { RemoteScript } from '../../../src/remote/script.ts';
import {
  type SwitchAnswer,
  type SwitchOptions,
  switchAnswerSchema,
  switchScript,
} from '../../../src/remote/switch.ts';
import type { Connection } from '../../../src/transport/connection.ts';
import { runOperation } from '../../../src/transport/run-operation.ts';
import {
  type CloneLab,
  failureOf,
  gitLine,
  makeCloneLab,
  snapshot,
  switchDefaults,
} from './clone-lab.ts';
import { makeReleaseLab } from './releases/release-lab.ts';

let lab: CloneLab;
const file = (name: string): string => join(lab.path, name);
const read = async (name: string): Promise<string> => await readFile(file(name), 'utf8');

beforeEach(async () => {
  lab = await makeCloneLab();
});
afterEach(async () => {
  await lab.close();
});

interface Waiting {
  /** Resolves once the script has said that it is ready. */
  readonly ready: Promise<void>;
  go(): void;
  /** Ends its input, as a lost worker does. */
  hangUp(): void;
  readonly answer: Promise<SwitchAnswer>;
}

function start(connection: Connection, script: RemoteScript): Waiting {
  const stdin = new PassThrough();
  let isReady = (): void => {};
  const ready = new Promise<void>((resolve) => {
    isReady = resolve;
  });
  const answer = runOperation(connection, script, switchAnswerSchema, {
    stdin: () => stdin,
    timeoutMs: 60_000,
    onOutput: ({ stream, text }) => {
      if (stream === 'stdout' && text.includes(READY)) isReady();
    },
  });
  // Looked at later, when it may have failed already.
  answer.catch(() => undefined);
  return { ready, answer, go: () => void stdin.end(`${GO}\n`), hangUp: () => void stdin.end() };
}

const startSwitch = (
  target: string,
  options: Partial<SwitchOptions> & { fence: number },
): Waiting => {
  const defaults = switchDefaults(lab.path, target, options.fence);
  return start(lab.connection, switchScript({ ...defaults, ...options, together: true }));
};

/** A clone with one file, and the next commit staged. */
async function stageNext(): Promise<{ one: string; two: string }> {
  const one = lab.upstream.commit({ a: '1\n', b: '1\n' });
  await lab.initialize(one);
  await lab.switchTo(one, { fence: 1 });
  const two = lab.upstream.commit({ a: '2\n', b: '1\n', new: '2\n' }, one);
  await lab.stage(two, one);
  return { one, two };
}

describe('a switch that waits for others', () => {
  it('changes nothing before it is told to go, and then does at once', async () => {
    const { two } = await stageNext();
    const before = snapshot(lab.path);
    const waiting = startSwitch(two, { fence: 2 });
    await waiting.ready;
    expect(snapshot(lab.path)).toBe(before);
    expect(await read('.git/muster.lock/waiting')).toBe('waiting\n');
    waiting.go();
    expect(await waiting.answer).toMatchObject({ state: 'switched', head: two, changedFiles: 2 });
    expect(await read('a')).toBe('2\n');
    expect(await readdir(file('.git'))).not.toContain('muster.lock');
  });

  it('does so where local changes are to be merged, too', async () => {
    const { two } = await stageNext();
    await writeFile(file('b'), 'by hand\n');
    const before = snapshot(lab.path);
    const waiting = startSwitch(two, { fence: 2 });
    await waiting.ready;
    expect(snapshot(lab.path)).toBe(before);
    waiting.go();
    expect(await waiting.answer).toMatchObject({ state: 'merged' });
    expect([await read('a'), await read('b')]).toEqual(['2\n', 'by hand\n']);
  });

  it('keeps what is changed by hand while it waits', async () => {
    const { two } = await stageNext();
    const waiting = startSwitch(two, { fence: 2 });
    await waiting.ready;
    await writeFile(file('a'), 'by hand, meanwhile\n');
    await writeFile(file('new'), 'put there meanwhile\n');
    waiting.go();
    expect(await waiting.answer).toMatchObject({ state: 'merged', kept: [] });
    expect([await read('a'), await read('new')]).toEqual([
      'by hand, meanwhile\n',
      'put there meanwhile\n',
    ]);
    expect(await readdir(file('.git'))).not.toContain('muster.lock');
  });

  it('of a merge ends with nothing done if a file was changed while it waits', async () => {
    const { two } = await stageNext();
    await writeFile(file('b'), 'by hand\n');
    const waiting = startSwitch(two, { fence: 2 });
    await waiting.ready;
    await writeFile(file('a'), 'by hand, meanwhile\n');
    const before = snapshot(lab.path);
    waiting.go();
    const error = await failureOf(waiting.answer);
    expect([error.code, error.retryable]).toEqual(['command_failed', true]);
    expect(snapshot(lab.path)).toBe(before);
    expect(await lab.switchTo(two, { fence: 2 })).toMatchObject({ state: 'merged', kept: [] });
    expect([await read('a'), await read('b')]).toEqual(['by hand, meanwhile\n', 'by hand\n']);
  });

  it('does not wait if nothing is to be changed', async () => {
    const { one } = await stageNext();
    await lab.stage(one, one);
    const waiting = startSwitch(one, { fence: 2 });
    expect(await waiting.answer).toMatchObject({ state: 'unchanged' });
  });

  it('ends with nothing changed when whoever was to say go has gone', async () => {
    const { two } = await stageNext();
    const before = snapshot(lab.path);
    const waiting = startSwitch(two, { fence: 2 });
    await waiting.ready;
    waiting.hangUp();
    const error = await failureOf(waiting.answer);
    expect([error.code, error.retryable]).toEqual(['command_failed', true]);
    expect(snapshot(lab.path)).toBe(before);
    expect((await lab.switchTo(two, { fence: 2 })).state).toBe('switched');
  });

  it('gives way to a later fence, not to the same one', async () => {
    const { two } = await stageNext();
    const waiting = startSwitch(two, { fence: 2 });
    await waiting.ready;
    expect((await failureOf(lab.switchTo(two, { fence: 2 }))).code).toBe('path_busy');
    expect((await lab.switchTo(two, { fence: 3 })).state).toBe('switched');
    const error = await failureOf(waiting.answer);
    expect(error.code).toBe('command_failed');
    expect(gitLine(lab.path, 'status', '--porcelain')).toBe('');
    expect(await readdir(file('.git'))).not.toContain('muster.lock');
  });
});

describe('an atomic switch that waits for others', () => {
  it('shows the new release once it is told to go', async () => {
    const releases = await makeReleaseLab();
    try {
      const one = releases.upstream.commit({ a: '1\n' });
      await releases.initialize(one);
      const two = releases.upstream.commit({ a: '2\n' }, one);
      await releases.stage(two, one);
      await releases.prepare(two);
      const options = switchDefaults(releases.path, two, 5);
      const waiting = start(
        releases.connection,
        switchReleaseScript({ ...options, together: true }),
      );
      await waiting.ready;
      expect(await readFile(join(releases.path, 'a'), 'utf8')).toBe('1\n');
      const goneAt = Date.now();
      waiting.go();
      expect(await waiting.answer).toMatchObject({ state: 'switched', head: two });
      expect(await readFile(join(releases.path, 'a'), 'utf8')).toBe('2\n');
      const { ctimeMs } = await stat(join(releases.home, '.git/muster-switched'));
      expect(ctimeMs).toBeGreaterThanOrEqual(goneAt - 10);
    } finally {
      await releases.close();
    }
  });
});
