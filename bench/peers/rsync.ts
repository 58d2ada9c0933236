import { runProgram } from '../builds/run-program.ts';
import { atOnce, type Contestant, type Way } from './contestant.ts';
import type { PeerNetwork } from './peer-network.ts';

const PATH = '/opt/rsync';

/** One `rsync -a --delete` per server, all at once; where the way is slow also with compression. */
export async function makeRsync(
  network: PeerNetwork,
  { isSlow }: { readonly isSlow: boolean },
): Promise<Contestant> {
  const { stdout } = await runProgram(['rsync', '--version']);
  const way = (name: string, config: string, more: readonly string[] = []): Way => ({
    name,
    deliver: ({ directory }) =>
      atOnce(network.names, (server) =>
        runProgram([
          ...['rsync', '-a', '--delete', ...more, '-e', `ssh -F ${config}`],
          ...[`${directory}/`, `${server}:${PATH}/`],
        ]),
      ),
  });
  const cold = way('new connections', network.coldConfig);
  const open = way('open connections', network.warmConfig);
  const compressed = isSlow
    ? [{ ...way('open, compressed', network.warmConfig, ['-z']), prepare: network.open }]
    : [];
  return {
    name: 'rsync',
    about: `rsync ${/version (\S+)/.exec(stdout)?.[1]}, \`-a --delete\` by ssh, all servers at once.`,
    first: cold,
    updates: [cold, { ...open, prepare: network.open }, ...compressed],
    clear: () => network.onEach(`rm -rf ${PATH}`),
    path: () => PATH,
  };
}
