import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { requireSshFleet, type SshLab, startSshLab } from '../transport/ssh-lab.ts';
import { startWorkingApi, type WorkingApi } from './working-api.ts';

const PATIENCE = { timeout: 60_000 };
/** Ends what serves the connections that are open, as this machine's `ps` would name it. */
const CUT = `for process in /proc/[0-9]*; do
  case $(tr '\\0' ' ' <$process/cmdline 2>/dev/null) in 'sshd: root@'* | 'sshd: root [priv]'* | 'sshd-session: root'*) kill -KILL "$(basename $process)" ;; esac
done`;

describe.skipIf(!(await requireSshFleet()))('a step whose connection is cut', () => {
  let api: WorkingApi;
  let lab: SshLab;
  const on = async (command: string): Promise<string> =>
    (await lab.fleet.inspect('web01', command)).stdout;

  beforeAll(async () => {
    api = await startWorkingApi();
    const { public_key: key } = await api.must('PUT', '/global/keypairs?name=kp&generate=true');
    lab = await startSshLab(['web01'], { authorizedKeys: [key] });
    const [server] = lab.fleet.servers;
    const { host, port } = server ?? { host: '', port: 0 };
    await api.must('PUT', '/server?name=web01&environment=production', {
      connection: { kind: 'ssh', host, port, user: 'root', keypair: 'kp' },
    });
    const name = `echo begun >>/srv/marker; i=0
      until [ -e /srv/gate ]; do i=$((i + 1)); echo "line $i."; sleep 0.1; done; echo "$i lines" | tee /srv/lines`;
    await api.makeApplication('shop', ['web01'], {
      actions: { prepull: { long: { 'cmd.run': [{ name }] } } },
    });
  });
  afterAll(async () => {
    await api.close();
    await lab.close();
  });

  it('goes on, succeeds, and tells every line once', async () => {
    const deploying = api.deploy('shop', { name: 'b1' }, ['web01']);
    await expect.poll(() => on('cat /srv/marker'), PATIENCE).toBe('begun\n');
    await on(CUT);
    // It is followed again, by a connection of its own, while it still says more.
    const { db } = api.dependencies.database;
    const retried = (): Promise<number> =>
      db.event.count({ where: { kind: 'step', data: { path: ['status'], equals: 'retrying' } } });
    await expect.poll(retried, PATIENCE).toBeGreaterThan(0);
    await on('touch /srv/gate');
    await deploying;
    const { deployments } = await api.must('GET', '/app/shop/deployments');
    const statusOf = async (): Promise<string> =>
      (await api.must('GET', `/app/shop/deployments/${deployments[0]}`)).status;
    await expect.poll(statusOf, PATIENCE).toBe('succeeded');
    expect(await on('cat /srv/marker')).toBe('begun\n');
    expect(await on('ls -A /opt/web/.git | grep muster-runs')).toBe('');

    const count = Number.parseInt(await on('cat /srv/lines'), 10);
    const events = await db.event.findMany({ where: { kind: 'output' }, orderBy: { id: 'asc' } });
    const said = events.map(({ data }) => (data as { text: string }).text).join('');
    const lines = Array.from({ length: count }, (_, index) => `line ${index + 1}.\n`).join('');
    expect(said).toContain(
      `${lines}${count} lines\nprepull long (cmd.run): changed, exit code 0\n`,
    );
    expect(said.split('line 1.\n')).toHaveLength(2);
  });
});
