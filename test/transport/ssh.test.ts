import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { defineScript, type RemoteScript } from '../../src/remote/script.ts';
import type { Transport } from '../../src/transport/connection.ts';
import { fingerprintOf } from '../../src/transport/host-key.ts';
import { generateKeypair } from '../../src/transport/keypairs.ts';
import { createTransport, type TransportOptions } from '../../src/transport/transport.ts';
import { startProxy } from '../chaos/proxy.ts';
import { failureOf } from './scripts/clone-lab.ts';
import { requireSshFleet, type SshLab, startSshLab } from './ssh-lab.ts';

const script = (text: string): RemoteScript => defineScript({ name: 'probe', text, args: [] });
const limits = { timeoutMs: 60_000 };

describe.skipIf(!(await requireSshFleet()))('SSH', () => {
  let lab: SshLab;
  const opened: Transport[] = [];
  const transportWith = (ssh: TransportOptions['ssh'] = {}): Transport => {
    const transport = createTransport({ ssh });
    opened.push(transport);
    return transport;
  };
  /** How many logins sshd has seen alive: its children, one for each connection. */
  const connectionsOn = async (name: string): Promise<number> => {
    const { stdout } = await lab.fleet.inspect(
      name,
      'grep -l "^sshd: root" /proc/[0-9]*/cmdline 2>/dev/null | wc -l',
    );
    return Number(stdout);
  };

  beforeAll(async () => {
    lab = await startSshLab(['web01', 'web02'], { extraHostKeyTypes: ['ecdsa', 'rsa'] });
  });
  afterEach(async () => {
    await Promise.all(opened.splice(0).map((transport) => transport.close()));
  });
  afterAll(async () => {
    await lab.close();
  });

  it('opens one connection, however many ask for it at once', async () => {
    const transport = transportWith();
    const connections = await Promise.all(
      Array.from({ length: 30 }, async () => await transport.connect(lab.target('web01'))),
    );
    expect(new Set(connections).size).toBe(1);
    expect(await connectionsOn('web01')).toBe(1);
  });

  it('reaches the server that was asked for', async () => {
    const transport = transportWith();
    for (const name of ['web01', 'web02']) {
      const connection = await transport.connect(lab.target(name));
      expect((await connection.run(script('uname -n'), limits)).stdout.trim()).toBe(name);
    }
  });

  it('pins the first key it sees when none is pinned', async () => {
    const connection = await transportWith().connect(lab.target('web01', { hostKey: null }));
    expect(connection.hostKey).toBe(lab.fleet.servers[0]?.hostKey);
  });

  it.each(['ecdsa', 'rsa'])(
    'asks a server with several host keys for the pinned kind: %s',
    async (type) => {
      const { stdout } = await lab.fleet.inspect(
        'web01',
        `cut -d ' ' -f 1,2 /run/fleet/host_key_${type}.pub`,
      );
      const connection = await transportWith().connect(
        lab.target('web01', { hostKey: stdout.trim() }),
      );
      expect(connection.hostKey).toBe(stdout.trim());
    },
  );

  it('refuses a changed host key and shows both', async () => {
    const pinned = lab.fleet.servers[1]?.hostKey ?? '';
    await lab.fleet.rotateHostKey('web02');
    const shown = lab.fleet.servers[1]?.hostKey ?? '';
    const error = await failureOf(
      transportWith().connect(lab.target('web02', { hostKey: pinned })),
    );
    expect(error).toMatchObject({ code: 'host_key_changed', retryable: false });
    expect(error.details).toMatchObject({
      expected: fingerprintOf(pinned),
      actual: fingerprintOf(shown),
      actual_key: shown,
    });
    expect(error.message).toContain(fingerprintOf(pinned));
    expect(error.message).toContain(fingerprintOf(shown));
    await expect(transportWith().connect(lab.target('web02'))).resolves.toBeDefined();
  });

  it.each([
    ['a key that it does not know', { privateKey: generateKeypair().privateKey }],
    ['a user that it does not know', { user: 'nobody-here' }],
    ['a key that is none', { privateKey: 'not a key' }],
  ])('tells that the server refuses %s', async (_what, changes) => {
    const error = await failureOf(transportWith().connect(lab.target('web01', changes)));
    expect(error).toMatchObject({ code: 'server_login_refused', retryable: false });
    expect(JSON.stringify(error.details)).not.toContain('PRIVATE KEY');
  });

  it('tells that nobody listens, after a few tries', async () => {
    const error = await failureOf(
      transportWith({ retryPauseMs: 10 }).connect(lab.target('web01', { port: 1 })),
    );
    expect(error).toMatchObject({ code: 'server_unreachable', retryable: true });
    expect(error.details).toMatchObject({
      address: '127.0.0.1:1',
      reason: expect.stringContaining('ECONNREFUSED'),
    });
  });

  it('gives up on a server that never speaks', async () => {
    const sockets: Socket[] = [];
    const silent = createServer((socket) => sockets.push(socket)).listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const address = silent.address();
    const port = typeof address === 'object' ? (address?.port ?? 0) : 0;
    try {
      const error = await failureOf(
        transportWith({ loginTimeoutMs: 300 }).connect(lab.target('web01', { port })),
      );
      expect(error.code).toBe('server_unreachable');
      const abort = AbortSignal.timeout(100);
      await expect(
        transportWith().connect(lab.target('web01', { port }), { signal: abort }),
      ).rejects.toThrow(/timeout/);
    } finally {
      for (const socket of sockets) socket.destroy();
      silent.close();
    }
  });

  it('knows that a server is near once a script has begun at once', async () => {
    const connection = await transportWith().connect(lab.target('web01'));
    expect(connection.isNear).toBe(false);
    // On a busy machine even a near server may take a while.
    await expect
      .poll(async () => {
        await connection.run(script('true'), limits);
        return connection.isNear;
      })
      .toBe(true);
    await connection.run(script('sleep 0.1'), limits);
    expect(connection.isNear).toBe(true);
  });

  it('never takes a server for near whose way holds each packet back', async () => {
    const holdBack = async (chunks: AsyncIterable<Buffer>, to: Socket): Promise<void> => {
      for await (const chunk of chunks) {
        await sleep(20);
        to.write(chunk);
      }
    };
    const way = await startProxy(
      () => lab.fleet.servers.find(({ name }) => name === 'web01')?.port ?? 0,
      () => ({ fromClient: holdBack, fromServer: holdBack }),
    );
    try {
      const connection = await transportWith().connect(lab.target('web01', { port: way.port }));
      for (let round = 0; round < 5; round += 1) {
        expect((await connection.run(script('echo in'), limits)).stdout).toBe('in\n');
      }
      expect(connection.isNear).toBe(false);
    } finally {
      await way.close();
    }
  });

  it('keeps within the budgets of a stock sshd: channels', async () => {
    const connection = await transportWith().connect(lab.target('web01'));
    let running = 0;
    let most = 0;
    await Promise.all(
      Array.from({ length: 30 }, async () => {
        await connection.run(script('echo in; sleep 0.1'), {
          ...limits,
          onOutput: () => {
            running += 1;
            most = Math.max(most, running);
          },
        });
        running -= 1;
      }),
    );
    expect(most).toBeGreaterThan(1);
    expect(most).toBeLessThanOrEqual(8);
  });

  it('misses no exit status, however quickly a script ends', async () => {
    const connection = await transportWith().connect(lab.target('web01'));
    for (let round = 0; round < 40; round += 1) {
      const runs = Array.from(
        { length: 8 },
        async () => await connection.run(script('exit 7'), limits),
      );
      for (const result of await Promise.all(runs)) expect(result.exitCode).toBe(7);
    }
  });

  it('asks again when sshd refuses a channel', async () => {
    const connection = await transportWith({
      channelsPerConnection: 20,
      retryPauseMs: 50,
      channelAttempts: 100,
    }).connect(lab.target('web01'));
    const results = await Promise.all(
      Array.from(
        { length: 20 },
        async () => await connection.run(script('sleep 0.2; echo ok'), limits),
      ),
    );
    expect(results.every(({ stdout }) => stdout === 'ok\n')).toBe(true);
  });

  it('logs in to one sshd for many servers, within its MaxStartups', async () => {
    const transport = transportWith();
    const target = lab.target('web01');
    const connections = await Promise.all(
      Array.from(
        { length: 40 },
        async (_, n) => await transport.connect({ ...target, id: `server-${n}` }),
      ),
    );
    expect(new Set(connections).size).toBe(40);
  });

  it('logs in again when sshd dropped it for being over its MaxStartups', async () => {
    const tight = await startSshLab(['tight'], { maxStartups: '2:100:2' });
    try {
      const transport = transportWith({ loginsPerHost: 12, loginAttempts: 100, retryPauseMs: 30 });
      const target = tight.target('tight');
      const connections = await Promise.all(
        Array.from(
          { length: 12 },
          async (_, n) => await transport.connect({ ...target, id: `server-${n}` }),
        ),
      );
      expect(connections).toHaveLength(12);
    } finally {
      await tight.close();
    }
  });

  it('closes a connection that was idle, and opens another when asked', async () => {
    const transport = transportWith({ idleMs: 200 });
    const first = await transport.connect(lab.target('web01'));
    expect((await first.run(script('sleep 0.5; echo long'), limits)).stdout).toBe('long\n');
    await expect.poll(async () => await connectionsOn('web01')).toBe(0);
    const second = await transport.connect(lab.target('web01'));
    expect(second).not.toBe(first);
    expect((await second.run(script('echo back'), limits)).stdout).toBe('back\n');
  });

  it('rejects all that runs when the server goes down, and comes back with it', async () => {
    const transport = transportWith({ retryPauseMs: 50 });
    const connection = await transport.connect(lab.target('web02'));
    const running = Array.from(
      { length: 12 },
      async () => await failureOf(connection.run(script('sleep 30'), limits)),
    );
    await sleep(300);
    await lab.fleet.stop('web02');
    for (const error of await Promise.all(running))
      expect(error).toMatchObject({ code: 'server_unreachable', retryable: true });
    expect((await failureOf(connection.run(script('true'), limits))).code).toBe(
      'server_unreachable',
    );
    expect((await failureOf(transport.connect(lab.target('web02')))).code).toBe(
      'server_unreachable',
    );
    await lab.fleet.start('web02');
    const again = await transport.connect(lab.target('web02'));
    expect((await again.run(script('uname -n'), limits)).stdout).toBe('web02\n');
  });

  it('ends everything on close', async () => {
    const transport = transportWith();
    const connection = await transport.connect(lab.target('web01'));
    const running = failureOf(connection.run(script('sleep 30'), limits));
    await sleep(100);
    await transport.close();
    expect((await running).code).toBe('server_unreachable');
    expect((await failureOf(transport.connect(lab.target('web01')))).code).toBe(
      'service_unavailable',
    );
  });

  it('leaves nothing running on the server when a script is stopped', async () => {
    const connection = await transportWith().connect(lab.target('web01'));
    await failureOf(connection.run(script('sleep 4242'), { timeoutMs: 300 }));
    const list = 'cat /proc/[0-9]*/cmdline 2>/dev/null | tr "\\0" " "';
    await expect
      .poll(async () => (await lab.fleet.inspect('web01', list)).stdout)
      .not.toContain('sleep 4242');
  });
});
