import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { defineScript, type RemoteScript } from '../../src/remote/script.ts';
import type { ServerTarget, SshAddress, Transport } from '../../src/transport/connection.ts';
import { generateKeypair } from '../../src/transport/keypairs.ts';
import { createTransport, type TransportOptions } from '../../src/transport/transport.ts';
import { failureOf } from './scripts/clone-lab.ts';
import { requireSshFleet, type SshLab, startSshLab } from './ssh-lab.ts';

const script = (text: string): RemoteScript => defineScript({ name: 'probe', text, args: [] });
const limits = { timeoutMs: 60_000 };

describe.skipIf(!(await requireSshFleet()))('a server that is reached from another one', () => {
  let lab: SshLab;
  const opened: Transport[] = [];
  const transportWith = (ssh: TransportOptions['ssh'] = {}): Transport => {
    const transport = createTransport({ ssh: { retryPauseMs: 20, ...ssh } });
    opened.push(transport);
    return transport;
  };
  /** The named server, reached through the others, the one next to it first. */
  const through = (name: string, ...jumps: string[]): ServerTarget => {
    const [next, ...more] = jumps;
    const target = lab.target(name);
    if (next === undefined) return target;
    const jump = through(next, ...more);
    if (!isSsh(jump)) throw new Error('not by SSH');
    return lab.target(name, { jump });
  };
  const connectionsOn = async (name: string): Promise<number> => {
    const { stdout } = await lab.fleet.inspect(
      name,
      'grep -l "^sshd: root" /proc/[0-9]*/cmdline 2>/dev/null | wc -l',
    );
    return Number(stdout);
  };

  beforeAll(async () => {
    lab = await startSshLab(['jump01', 'jump02', 'web01', 'web02']);
  });
  afterEach(async () => {
    await Promise.all(opened.splice(0).map((transport) => transport.close()));
  });
  afterAll(async () => {
    await lab.close();
  });

  it('is the server that was asked for, and one login on the jump host is enough for many', async () => {
    const transport = transportWith();
    const names = ['web01', 'web02', 'web01'];
    const connections = await Promise.all(
      names.map(async (name) => await transport.connect(through(name, 'jump01'))),
    );
    for (const [n, connection] of connections.entries()) {
      expect((await connection.run(script('uname -n'), limits)).stdout.trim()).toBe(names[n]);
    }
    expect(await connectionsOn('jump01')).toBe(1);
    expect(connections.map(({ hostKey }) => hostKey)).toEqual(
      names.map((name) => lab.fleet.servers.find((one) => one.name === name)?.hostKey),
    );
  });

  it('may stand behind several', async () => {
    const connection = await transportWith().connect(through('web01', 'jump02', 'jump01'));
    expect((await connection.run(script('uname -n'), limits)).stdout).toBe('web01\n');
    expect([await connectionsOn('jump01'), await connectionsOn('jump02')]).toEqual([1, 1]);
  });

  it('is not reached past a jump host that shows another key or refuses the login', async () => {
    const jumps: [string, Partial<SshAddress>][] = [
      ['host_key_changed', { hostKey: lab.fleet.servers[3]?.hostKey ?? '' }],
      ['server_login_refused', { privateKey: generateKeypair().privateKey }],
    ];
    for (const [code, changes] of jumps) {
      const jump = lab.target('jump01', changes);
      if (!isSsh(jump)) throw new Error('not by SSH');
      const error = await failureOf(transportWith().connect(lab.target('web01', { jump })));
      expect(error).toMatchObject({ code, details: { server: 'jump01' } });
    }
  });

  it('is checked for its own key', async () => {
    const target = lab.target('web01', { hostKey: lab.fleet.servers[3]?.hostKey ?? '' });
    const jump = lab.target('jump01');
    if (!isSsh(jump) || !isSsh(target)) throw new Error('not by SSH');
    const error = await failureOf(
      transportWith().connect({ ...target, connection: { ...target.connection, jump } }),
    );
    expect(error).toMatchObject({ code: 'host_key_changed', details: { server: 'web01' } });
  });

  it('says from where nobody answers', async () => {
    const jump = lab.target('jump01');
    if (!isSsh(jump)) throw new Error('not by SSH');
    const error = await failureOf(
      transportWith({ loginAttempts: 2 }).connect(lab.target('web01', { port: 1, jump })),
    );
    expect(error).toMatchObject({
      code: 'server_unreachable',
      retryable: true,
      details: { server: 'web01', jump: 'jump01', address: '127.0.0.1:1' },
    });
    expect(error.message).toContain('from jump01');
  });

  it('is lost with its jump host, and found again with it', async () => {
    const transport = transportWith();
    const connection = await transport.connect(through('web01', 'jump02', 'jump01'));
    const running = failureOf(connection.run(script('sleep 30'), limits));
    const direct = await transport.connect(lab.target('web02'));
    await lab.fleet.stop('jump01');
    expect(await running).toMatchObject({ code: 'server_unreachable', retryable: true });
    expect((await direct.run(script('uname -n'), limits)).stdout).toBe('web02\n');
    await expect.poll(async () => await connectionsOn('web01')).toBe(0);
    await lab.fleet.start('jump01');
    const again = await transport.connect(through('web01', 'jump02', 'jump01'));
    expect((await again.run(script('uname -n'), limits)).stdout).toBe('web01\n');
  });

  it('is connected to anew when it has been restarted, though its jump host has not', async () => {
    const transport = transportWith();
    const target = through('web01', 'jump01');
    const first = await transport.connect(target);
    expect((await first.run(script('uname -n'), limits)).stdout).toBe('web01\n');
    await lab.fleet.stop('web01');
    await lab.fleet.start('web01');
    // The end of the first connection comes when it comes.
    await expect.poll(async () => (await transport.connect(target)) === first).toBe(false);
    const again = await transport.connect(target);
    expect((await again.run(script('uname -n'), limits)).stdout).toBe('web01\n');
    await expect.poll(() => transport.statistics().openConnections).toBe(2);
  });

  it('keeps its jump host open as long as it is open itself', async () => {
    const transport = transportWith({ idleMs: 300 });
    const connection = await transport.connect(through('web01', 'jump01'));
    expect((await connection.run(script('sleep 0.8; echo long'), limits)).stdout).toBe('long\n');
    await expect.poll(async () => await connectionsOn('web01')).toBe(0);
    await expect.poll(async () => await connectionsOn('jump01')).toBe(0);
  });

  it('shares the logins that its jump host may have under way', async () => {
    const transport = transportWith({ loginsPerHost: 20, loginsPerJump: 2 });
    const most = { now: 0, ever: 0 };
    const watch = setInterval(() => {
      most.now = transport.statistics().loginsUnderWay;
      most.ever = Math.max(most.ever, most.now);
    }, 1);
    const target = through('web01', 'jump01');
    const connections = await Promise.all(
      Array.from(
        { length: 12 },
        async (_, n) => await transport.connect({ ...target, id: `server-${n}` }),
      ),
    );
    clearInterval(watch);
    expect(new Set(connections).size).toBe(12);
    expect(most.ever).toBeGreaterThan(0);
    expect(most.ever).toBeLessThanOrEqual(2);
    expect(await connectionsOn('jump01')).toBe(1);
  });

  it('closes what is idle longest when too much is', async () => {
    const transport = transportWith({ maxIdle: 2 });
    const target = lab.target('web02');
    for (let n = 0; n < 5; n += 1) await transport.connect({ ...target, id: `server-${n}` });
    await expect.poll(async () => await connectionsOn('web02')).toBe(2);
    await expect.poll(() => transport.statistics().openConnections).toBe(2);
  });
});

function isSsh(target: ServerTarget): target is ServerTarget & { connection: SshAddress } {
  return target.connection.kind === 'ssh';
}
