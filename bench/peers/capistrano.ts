import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { runProgram } from '../builds/run-program.ts';
import type { Contestant, Way } from './contestant.ts';
import type { ServedRepository } from './git-server.ts';
import type { PeerNetwork } from './peer-network.ts';

const PATH = '/opt/capistrano';

const CAPFILE = `require "capistrano/setup"
require "capistrano/deploy"
require "capistrano/scm/git"
install_plugin Capistrano::SCM::Git
`;

/** Capistrano with its git strategy, which works on all servers in parallel. */
export async function makeCapistrano(
  network: PeerNetwork,
  { directory, repository }: { readonly directory: string; readonly repository: ServedRepository },
): Promise<Contestant> {
  await mkdir(join(directory, 'config/deploy'), { recursive: true });
  await writeFile(join(directory, 'Capfile'), CAPFILE);
  await writeFile(join(directory, 'config/deploy.rb'), settingsOf(network, repository));
  const servers = network.names.map((name) => `server "${name}", user: "root", roles: %w{app}`);
  await writeFile(join(directory, 'config/deploy/production.rb'), `${servers.join('\n')}\n`);
  const { stdout } = await runProgram(['cap', '--version']);
  const way: Way = {
    name: 'parallel',
    prepare: (version) => repository.publish(version),
    deliver: async () => {
      await runProgram(['env', '-C', directory, 'cap', 'production', 'deploy']);
    },
  };
  return {
    name: 'Capistrano',
    about: `${stdout.trim()}, git strategy, all servers at once.`,
    first: way,
    updates: [way],
    clear: () => network.onEach(`rm -rf ${PATH}`),
    path: () => `${PATH}/current`,
  };
}

function settingsOf(network: PeerNetwork, repository: ServedRepository): string {
  return `set :application, "bench"
set :repo_url, "${repository.url}"
set :branch, "master"
set :deploy_to, "${PATH}"
set :keep_releases, 2
set :format, :simpletext
set :log_level, :warn
set :ssh_options, { config: "${network.coldConfig}", keys: ["${network.key.file}"], verify_host_key: :never, auth_methods: %w(publickey) }
`;
}
