import { Readable } from 'node:stream';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { defineScript, type RemoteScript } from '../../src/remote/script.ts';
import type { Connection, Transport } from '../../src/transport/connection.ts';
import { nameOfText } from '../../src/transport/quote.ts';
import { createTransport } from '../../src/transport/transport.ts';
import { startProxy, type TcpProxy } from '../chaos/proxy.ts';
import { requireSshFleet, type SshLab, startSshLab } from './ssh-lab.ts';

/** As long as those of a deployment; says its arguments, a variable and its input. */
const TEXT = `${'# why\n: "it is so\\n"\n'.repeat(500)}printf '%s,' "$@" "$VALUE"\ncat\n`;
const LONG = 6000;
const SHORT = 1500;
const MANY = 2 * LONG;

const script = (text: string, ...args: string[]): RemoteScript =>
  defineScript({ name: 'probe', text, args, env: { VALUE: "it's" } });

describe.skipIf(!(await requireSshFleet()))('a server that is far', () => {
  let lab: SshLab;
  let way: TcpProxy;
  let sentBytes = 0;
  let transport: Transport;
  let connection: Connection;
  const connect = async (): Promise<void> => {
    // However quickly it answers, it is not near.
    transport = createTransport({ ssh: { nearMs: -1 } });
    connection = await transport.connect(lab.target('web01', { port: way.port }));
    await run(script('true'));
  };
  const run = async (what: RemoteScript, input = ''): Promise<{ said: string; bytes: number }> => {
    const before = sentBytes;
    const { stdout, stderr, exitCode } = await connection.run(what, {
      stdin: () => Readable.from([input]),
      timeoutMs: 60_000,
    });
    expect({ stderr, exitCode }).toEqual({ stderr: '', exitCode: 0 });
    return { said: stdout, bytes: sentBytes - before };
  };
  const onServer = async (command: string): Promise<string> =>
    (await lab.fleet.inspect('web01', command)).stdout.trim();

  beforeAll(async () => {
    lab = await startSshLab(['web01']);
    way = await startProxy(
      () => lab.fleet.servers[0]?.port ?? 0,
      () => ({
        fromClient: async (chunks, to) => {
          for await (const chunk of chunks) {
            sentBytes += chunk.length;
            to.write(chunk);
          }
        },
        fromServer: async (chunks, to) => {
          for await (const chunk of chunks) to.write(chunk);
        },
      }),
    );
  });
  beforeEach(connect);
  afterEach(async () => {
    await transport.close();
    await onServer('rm -rf /root/.cache');
  });
  afterAll(async () => {
    await way.close();
    await lab.close();
  });

  it('is sent the text of a script once, and from then on its name', async () => {
    const first = await run(script(TEXT, 'a', 'b'), 'one');
    expect(first.said).toBe("a,b,it's,one");
    expect(first.bytes).toBeGreaterThan(LONG);
    const second = await run(script(TEXT, 'ü', "'; exit 3"), 'two');
    expect(second.said).toBe("ü,'; exit 3,it's,two");
    expect(second.bytes).toBeLessThan(SHORT);
    expect(await onServer('cd /root/.cache && find muster -printf "%m %p\n" | sort')).toBe(
      `600 muster/${nameOfText(script(TEXT))}\n700 muster`,
    );
  });

  it('keeps it for later connections', async () => {
    await run(script(TEXT));
    await onServer('pkill -f "^sshd: root"; true');
    await expect
      .poll(async () => {
        connection = await transport.connect(lab.target('web01', { port: way.port }));
        return connection.run(script('true'), { timeoutMs: 60_000 }).then(
          () => true,
          () => false,
        );
      })
      .toBe(true);
    expect((await run(script(TEXT), 'again')).bytes).toBeLessThan(SHORT);
  });

  it.each([
    ['has lost it', 'rm -r /root/.cache/muster'],
    ['has another one in its place', 'for f in /root/.cache/muster/*; do echo exit 5 >"$f"; done'],
    ['has only a part of it', 'for f in /root/.cache/muster/*; do truncate -s 900 "$f"; done'],
  ])('is sent it again when it %s', async (_, spoil) => {
    await run(script(TEXT));
    await onServer(spoil);
    const again = await run(script(TEXT, 'a'), 'input');
    expect(again.said).toBe("a,it's,input");
    expect(again.bytes).toBeGreaterThan(LONG);
    expect((await run(script(TEXT, 'a'))).bytes).toBeLessThan(SHORT);
  });

  it('goes on to be called by names after it has lost all texts at once', async () => {
    const scripts = ['1', '2', '3', '4'].map((which) => script(`${TEXT}echo ${which}\n`));
    for (const one of scripts) await run(one);
    await onServer('rm -r /root/.cache/muster');
    for (const one of scripts) expect((await run(one)).bytes).toBeGreaterThan(LONG);
    for (const one of scripts) expect((await run(one)).bytes).toBeLessThan(SHORT);
  });

  it('that cannot keep it is sent it each time, and after a while not by its name before', async () => {
    await onServer(
      'mkdir -p /root/.cache && rm -rf /root/.cache/muster && echo >/root/.cache/muster',
    );
    for (let time = 0; time < 4; time += 1) {
      expect((await run(script(TEXT, `${time}`), 'in')).said).toBe(`${time},it's,in`);
    }
    const { bytes } = await run(script(TEXT));
    expect(bytes).toBeGreaterThan(LONG);
    expect(bytes).toBeLessThan(MANY);
  });

  it('removes what has not been sent for a month', async () => {
    await onServer(
      'mkdir -p /root/.cache/muster && touch -d "40 days ago" /root/.cache/muster/old && touch -d "20 days ago" /root/.cache/muster/new',
    );
    await run(script(TEXT));
    expect((await onServer('ls /root/.cache/muster')).split('\n').toSorted()).toEqual(
      [nameOfText(script(TEXT)), 'new'].toSorted(),
    );
  });

  it('is sent what is short as it is', async () => {
    expect((await run(script('echo "$1"', 'short'))).said).toBe('short\n');
    expect(await onServer('ls /root/.cache 2>&1 || true')).toContain('No such file');
  });
});
