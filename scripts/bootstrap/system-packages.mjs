import { accessSync, constants, existsSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { mustRun, say } from './run.mjs';

/** The programs, or files, that tell whether a Debian package is there. */
const PROGRAMS = {
  ansible: 'ansible-playbook',
  'ansible-mitogen':
    '/usr/lib/python3/dist-packages/ansible_mitogen/plugins/strategy/mitogen_linear.py',
  capistrano: 'cap',
  'openssh-server': 'sshd',
  'redis-server': 'redis-server',
  rsync: 'rsync',
  sudo: 'sudo',
  unzip: 'unzip',
  zip: 'zip',
};

const POLICY = '/usr/sbin/policy-rc.d';

/**
 * See that the system has these packages: root on Debian installs what is missing, everybody else is told.
 * @param {readonly (keyof typeof PROGRAMS)[]} packages
 */
export async function ensureSystemPackages(packages) {
  const missing = packages.filter((name) => !hasProgram(PROGRAMS[name]));
  if (missing.length === 0) {
    return;
  }
  if (process.getuid?.() !== 0 || !existsSync('/etc/debian_version')) {
    say(
      `Not installed: ${missing.join(', ')}. What needs them is skipped (Debian: apt-get install ${missing.join(' ')}).`,
    );
    return;
  }
  say(`Installing ${missing.join(' and ')} with apt-get …`);
  await withoutStartingServices(async () => {
    const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
    const waiting = ['-o', 'DPkg::Lock::Timeout=300'];
    const install = ['install', '-y', '--no-install-recommends', ...missing];
    await mustRun('apt-get update', 'apt-get', ['update', ...waiting], { env, quiet: true });
    await mustRun('apt-get install', 'apt-get', [...install, ...waiting], { env, quiet: true });
  });
}

/**
 * Only the programs are wanted, each test starts its own. Debian would start an SSH and a Redis server on their
 * well-known ports at once; this file is its way to say no.
 * @param {() => Promise<void>} work
 */
async function withoutStartingServices(work) {
  if (existsSync(POLICY)) {
    return await work();
  }
  writeFileSync(POLICY, '#!/bin/sh\nexit 101\n', { mode: 0o755 });
  try {
    await work();
  } finally {
    rmSync(POLICY, { force: true });
  }
}

/** @param {string} name of a program, or the path of a file */
function hasProgram(name) {
  if (name.startsWith('/')) {
    return existsSync(name);
  }
  const folders = [...(process.env.PATH ?? '').split(':'), '/usr/sbin', '/usr/local/sbin'];
  return folders.some((folder) => {
    try {
      accessSync(join(folder, name), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}
