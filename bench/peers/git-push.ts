import { runProgram } from '../builds/run-program.ts';
import type { Version, Versions } from '../builds/versions.ts';
import { atOnce, type Contestant, type Way } from './contestant.ts';
import type { PeerNetwork } from './peer-network.ts';

const PATH = '/opt/push';
const INIT = `git init -q -b master ${PATH} && git -C ${PATH} config receive.denyCurrentBranch updateInstead`;

/** One `git push` per server, all at once, to a repository whose work tree follows (`updateInstead`). */
export async function makeGitPush(network: PeerNetwork, versions: Versions): Promise<Contestant> {
  const { stdout } = await runProgram(['git', '--version']);
  const push = (config: string, { commit }: Version): Promise<void> =>
    atOnce(network.names, (server) =>
      runProgram(
        [
          ...['git', '-C', versions.repository, 'push', '-q'],
          ...[`ssh://${server}${PATH}`, `${commit}:refs/heads/master`],
        ],
        { GIT_SSH_COMMAND: `ssh -F ${config}` },
      ),
    );
  const way = (name: string, config: string): Way => ({
    name,
    deliver: (version) => push(config, version),
  });
  return {
    name: 'git push',
    about: `${stdout.trim()}, one push per server, all at once, \`receive.denyCurrentBranch=updateInstead\`.`,
    first: {
      name: 'git init by ssh, then push',
      deliver: async (version) => {
        await atOnce(network.names, (server) =>
          runProgram(['ssh', '-F', network.coldConfig, server, INIT]),
        );
        await push(network.coldConfig, version);
      },
    },
    updates: [
      way('new connections', network.coldConfig),
      { ...way('open connections', network.warmConfig), prepare: network.open },
    ],
    clear: () => network.onEach(`rm -rf ${PATH}`),
    path: () => PATH,
  };
}
