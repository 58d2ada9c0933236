import { createHash, randomBytes } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { defineScript, type RemoteScript } from '../../src/remote/script.ts';
import type { Connection, ServerTarget } from '../../src/transport/connection.ts';
import { runOperation } from '../../src/transport/run-operation.ts';
import { createTransport } from '../../src/transport/transport.ts';
import { makeTemporaryDirectory, type TemporaryDirectory } from '../support/temporary-directory.ts';
import { failureOf, forever, labOn, makeUpstream } from './scripts/clone-lab.ts';
import { requireSshFleet, type SshLab, startSshLab } from './ssh-lab.ts';

const script = (text: string, ...args: string[]): RemoteScript =>
  defineScript({ name: 'probe', text, args });
const limits = { timeoutMs: 20_000 };

function contract(targetOf: () => Promise<ServerTarget>): void {
  const transport = createTransport();
  let connection: Connection;

  beforeAll(async () => {
    connection = await transport.connect(await targetOf());
  });
  afterAll(async () => {
    await transport.close();
  });

  it('gives a script its arguments, whatever is in them', async () => {
    const args = [
      '',
      ' ',
      "it's",
      '"$HOME" `id` $(id) \\ \\\\ \\0101 %s !! ; & | < >',
      'a\nb\n',
      'ünï日本',
      '-n',
      '*',
      '~',
      '\t\r\u001b',
    ];
    const result = await connection.run(
      script('for a in "$@"; do printf "%s\\0" "$a"; done', ...args),
      limits,
    );
    expect(result).toEqual({
      exitCode: 0,
      signal: null,
      stdout: `${args.join('\0')}\0`,
      stderr: '',
    });
  });

  it('sets the script’s environment', async () => {
    const probe = { ...script('printf %s "$GREETING"'), env: { GREETING: "it's \\n $HOME" } };
    expect((await connection.run(probe, limits)).stdout).toBe("it's \\n $HOME");
  });

  it('tells an exit code, a signal and both outputs', async () => {
    expect(await connection.run(script('echo out; echo err >&2; exit 7'), limits)).toEqual({
      exitCode: 7,
      signal: null,
      stdout: 'out\n',
      stderr: 'err\n',
    });
    expect(await connection.run(script('kill -s KILL $$'), limits)).toMatchObject({
      exitCode: null,
      signal: 'KILL',
    });
  });

  it('streams input with back-pressure', async () => {
    const chunk = randomBytes(65_536);
    const hash = createHash('sha256');
    let sent = 0;
    const source = function* (): Generator<Buffer> {
      for (; sent < 200; sent += 1) {
        hash.update(chunk);
        yield chunk;
      }
    };
    const mayRead = connection.pathOn('/opt/may-read');
    const waiting = 'echo started; until [ -e "$1" ]; do sleep 0.05; done; sha256sum';
    let begin = (): void => {};
    const begun = new Promise<void>((resolve) => {
      begin = resolve;
    });
    const running = connection.run(script(waiting, mayRead), {
      ...limits,
      stdin: () => Readable.from(source()),
      onOutput: () => begin(),
    });
    await Promise.race([begun, running]);
    // Time to send more than it should.
    await sleep(300);
    expect(sent).toBeLessThan(100);
    await connection.run(script(': >"$1"', mayRead), limits);
    expect((await running).stdout).toContain(hash.digest('hex'));
  });

  it('lets a script end without reading its input', async () => {
    const source = forever();
    expect(
      (await connection.run(script('echo done'), { ...limits, stdin: () => source })).stdout,
    ).toBe('done\n');
    expect(source.destroyed).toBe(true);
  });

  it('fails when the input fails, and stops the script', async () => {
    const broken = new Readable({
      read() {
        this.destroy(new Error('disk gone'));
      },
    });
    await expect(
      connection.run(script('cat; sleep 30'), { ...limits, stdin: () => broken }),
    ).rejects.toThrow('disk gone');
  });

  it('gives a script that has no input the end of it', async () => {
    expect((await connection.run(script('cat; echo end'), limits)).stdout).toBe('end\n');
  });

  it('keeps the end of long output and streams all of it', async () => {
    let streamed = 0;
    const result = await connection.run(
      script('i=0; while [ $i -lt 20000 ]; do echo "line $i ü"; i=$((i+1)); done'),
      {
        ...limits,
        maxOutputBytes: 1000,
        onOutput: ({ text }) => {
          expect(text).not.toContain('\ufffd');
          streamed += Buffer.byteLength(text);
        },
      },
    );
    expect(result.stdout.endsWith('line 19999 ü\n')).toBe(true);
    expect(Buffer.byteLength(result.stdout)).toBeLessThanOrEqual(1002);
    expect(streamed).toBe(20_000 * 9 + 88_890);
  });

  it('stops a script at the end of its time, with a chance to clean up', async () => {
    const path = connection.pathOn('/opt/cleaned');
    const slow = script('trap \'touch "$1"; exit 1\' TERM; sleep 30 & wait', path);
    const wasCleaned = async () =>
      (await connection.run(script('test -e "$1"', path), limits)).exitCode === 0;
    // On a busy machine its time may be over before it has come as far as its trap.
    for (const timeoutMs of [500, 2000, 10_000]) {
      const error = await failureOf(connection.run(slow, { timeoutMs }));
      expect(error.code).toBe('command_timeout');
      if (await wasCleaned()) break;
    }
    expect(await wasCleaned()).toBe(true);
  });

  it('stops a script when the signal is aborted, with its reason', async () => {
    const abort = new AbortController();
    const running = connection.run(script('echo started; sleep 30'), {
      ...limits,
      signal: abort.signal,
      onOutput: () => abort.abort(new Error('cancelled by someone')),
    });
    await expect(running).rejects.toThrow('cancelled by someone');
    await expect(
      connection.run(script('true'), { ...limits, signal: abort.signal }),
    ).rejects.toThrow('cancelled by someone');
  });

  it('ends a script that does not heed TERM', async () => {
    const error = await failureOf(
      connection.run(script("trap '' TERM; while :; do sleep 1; done"), { timeoutMs: 300 }),
    );
    expect(error.code).toBe('command_timeout');
  });

  it('does not wait for what a script leaves running', async () => {
    // It would outlive the run's time.
    const result = await connection.run(script('sleep 30 & echo left it'), limits);
    expect(result).toMatchObject({ exitCode: 0, stdout: 'left it\n' });
  });

  it('runs many scripts at once', async () => {
    const results = await Promise.all(
      Array.from(
        { length: 40 },
        async (_, n) => await connection.run(script('sleep 0.05; echo "$1"', `${n}`), limits),
      ),
    );
    expect(results.map(({ stdout }) => stdout.trim())).toEqual(results.map((_, n) => `${n}`));
  });

  it('refuses a path that could leave the server’s root', () => {
    for (const path of ['opt/app', '/opt/../etc', '/./opt', ''])
      expect(() => connection.pathOn(path)).toThrow(/absolute/);
  });

  describe('runOperation', () => {
    const schema = z.object({ ok: z.literal(true), n: z.number() });

    it('reads the last line as the answer and streams the rest', async () => {
      let said = '';
      const probe = script(
        'printf "one\\ntwo"; sleep 0.1; printf "\\n{\\"ok\\":true,\\"n\\":1}\\n"',
      );
      const answer = await runOperation(connection, probe, schema, {
        ...limits,
        onOutput: ({ text }) => {
          said += text;
        },
      });
      expect(answer).toEqual({ ok: true, n: 1 });
      expect(said).toBe('one\ntwo');
    });

    it('makes a failure an error of its code', async () => {
      const probe = script(
        `echo '{"ok":false,"code":"path_parent_missing","message":"no","details":{"parent":"/x","files":["\\"a\\\\\\\\n\\""]}}'; exit 1`,
      );
      const error = await failureOf(runOperation(connection, probe, schema, limits));
      expect(error).toMatchObject({ code: 'path_parent_missing', message: 'no', retryable: false });
      expect(error.details['parent']).toBe('/x');
    });

    it.each([
      'exit 3',
      'echo hello',
      'echo \'{"ok":true}\'',
      'echo \'{"ok":false,"code":"no_such","message":"x","details":{}}\'',
    ])('makes anything else command_failed, with the words: %s', async (text) => {
      const error = await failureOf(
        runOperation(connection, script(`echo because >&2; ${text}`), schema, limits),
      );
      expect(error.code).toBe('command_failed');
      expect(error.details['stderr']).toBe('because');
    });
  });

  it('carries a clone through its life', async () => {
    const temporary = await makeTemporaryDirectory();
    try {
      const lab = labOn(connection, makeUpstream(temporary.path), '/srv/app');
      const one = lab.upstream.commit({ a: '1\n' });
      expect(await lab.initialize(one)).toMatchObject({ state: 'created' });
      const two = lab.upstream.commit({ a: '2\n', big: randomBytes(3_000_000) }, one);
      expect(await lab.stage(two, one)).toMatchObject({ state: 'staged' });
      expect(await lab.stage(two, one, forever)).toMatchObject({ state: 'present' });
      expect(await lab.stage('e'.repeat(40), 'f'.repeat(40), forever)).toMatchObject({
        state: 'need_full',
      });
      expect(await lab.switchTo(two)).toMatchObject({ state: 'switched', head: two });
      expect(await lab.deinitialize()).toMatchObject({ state: 'removed' });
    } finally {
      await temporary.remove();
    }
  });
}

describe('a local server', () => {
  let directory: TemporaryDirectory | undefined;
  contract(async () => {
    directory = await makeTemporaryDirectory();
    const root = join(directory.path, "root with 'quotes'");
    await mkdir(join(root, 'opt'), { recursive: true });
    await mkdir(join(root, 'srv'));
    return { id: 'local', name: 'local', connection: { kind: 'local', root } };
  });
  afterAll(async () => {
    await directory?.remove();
  });

  it('cannot be reached while its root does not exist', async () => {
    const target = {
      id: 'x',
      name: 'x',
      connection: { kind: 'local', root: '/no/such/root' },
    } as const;
    const error = await failureOf(createTransport().connect(target));
    expect(error).toMatchObject({ code: 'server_unreachable', retryable: true });
    expect(error.message).toContain('/no/such/root');
  });
});

describe.skipIf(!(await requireSshFleet()))('a server reached by SSH', () => {
  let lab: SshLab | undefined;
  contract(async () => {
    lab = await startSshLab(['web01']);
    return lab.target('web01');
  });
  afterAll(async () => {
    await lab?.close();
  });
});
