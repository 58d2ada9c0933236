import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { runProgram } from '../builds/run-program.ts';
import type { Contestant, Way } from './contestant.ts';
import type { ServedRepository } from './git-server.ts';
import type { PeerNetwork } from './peer-network.ts';

const PATH = '/opt/ansible';
/** Where Debian's package ansible-mitogen has it. */
const MITOGEN = '/usr/lib/python3/dist-packages/ansible_mitogen/plugins/strategy';
/** Debian's own, for which Debian's ansible is made. */
const PYTHON = '/usr/bin/python3';

const PLAYBOOK = `- hosts: all
  gather_facts: false
  tasks:
    - git:
        repo: "{{ repository }}"
        dest: ${PATH}
        version: "{{ commit }}"
        force: true
`;

/** Ansible's git module with pipelining and as many forks as there are servers; also by Mitogen, where it is installed. */
export async function makeAnsible(
  network: PeerNetwork,
  { directory, repository }: { readonly directory: string; readonly repository: ServedRepository },
): Promise<Contestant> {
  await mkdir(join(directory, 'c'), { mode: 0o700 });
  const { stdout } = await runProgram(['ansible-playbook', '--version']);
  const hosts = network.names.map(
    (name) =>
      `${name} ansible_host=127.0.0.1 ansible_port=${network.portOf(name)} ansible_user=root ansible_ssh_private_key_file=${network.key.file}`,
  );
  await writeFile(join(directory, 'hosts'), `${hosts.join('\n')}\n`);
  await writeFile(join(directory, 'deploy.yml'), PLAYBOOK);
  const way = async (name: string, strategy: readonly string[]): Promise<Way> => {
    const config = join(directory, `${name}.cfg`);
    await writeFile(config, `${configOf(directory, network, strategy).join('\n')}\n`);
    return {
      name,
      prepare: (version) => repository.publish(version),
      deliver: async ({ commit }) => {
        await runProgram(
          [
            ...['ansible-playbook', '-i', join(directory, 'hosts'), join(directory, 'deploy.yml')],
            ...['-e', `repository=${repository.url}`, '-e', `commit=${commit}`],
          ],
          { ANSIBLE_CONFIG: config, ANSIBLE_NOCOLOR: '1' },
        );
      },
    };
  };
  const pipelining = await way('pipelining', []);
  const mitogen = existsSync(MITOGEN)
    ? [await way('mitogen', [`strategy_plugins = ${MITOGEN}`, 'strategy = mitogen_linear'])]
    : [];
  const version = /core ([\d.]+)/.exec(stdout)?.[1];
  return {
    name: 'Ansible git',
    about: `ansible-core ${version}, module git, \`pipelining\`, ${network.names.length} forks, connections that stay open${mitogen.length === 0 ? '' : '; also with the strategy mitogen_linear'}.`,
    first: pipelining,
    updates: [pipelining, ...mitogen],
    clear: () => network.onEach(`rm -rf ${PATH}`),
    path: () => PATH,
  };
}

function configOf(
  directory: string,
  network: PeerNetwork,
  strategy: readonly string[],
): readonly string[] {
  return [
    '[defaults]',
    `forks = ${network.names.length}`,
    'gathering = explicit',
    'host_key_checking = False',
    `interpreter_python = ${PYTHON}`,
    `local_tmp = ${join(directory, 'tmp')}`,
    ...strategy,
    '[ssh_connection]',
    'pipelining = True',
    `control_path_dir = ${join(directory, 'c')}`,
    'ssh_args = -o ControlMaster=auto -o ControlPersist=900 -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR',
  ];
}
