import { execFileSync } from 'node:child_process';
import { BootstrapError } from './run.mjs';

const NODE = [20, 19];
const GIT = [2, 39];

/** Refuse to go on with a Node or git that Muster does not run on, saying which one would do. */
export function ensureNodeAndGit() {
  if (isOlder(process.versions.node, NODE)) {
    throw new BootstrapError(
      `Muster needs Node.js ${NODE.join('.')} or newer, and this is ${process.versions.node}; see https://nodejs.org/.`,
    );
  }
  const git = readGitVersion();
  if (git === undefined) {
    throw new BootstrapError(
      'Muster needs git, which is not installed (Debian: apt-get install git).',
    );
  }
  if (isOlder(git, GIT)) {
    throw new BootstrapError(`Muster needs git ${GIT.join('.')} or newer, and this is ${git}.`);
  }
}

function readGitVersion() {
  try {
    const told = execFileSync('git', ['--version'], { encoding: 'utf8' });
    return /\d+(\.\d+)+/.exec(told)?.[0];
  } catch {
    return undefined;
  }
}

/** @param {string} version @param {readonly number[]} least */
function isOlder(version, [leastMajor, leastMinor]) {
  const [major, minor] = version.split('.').map(Number);
  return major < leastMajor || (major === leastMajor && minor < leastMinor);
}
