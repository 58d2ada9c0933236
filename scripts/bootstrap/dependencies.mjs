import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { mustRun, ROOT, say } from './run.mjs';

/** The step that installs what package-lock.json names, unless exactly that is installed. */
export const dependencies = { isDone: isInstalled, run: install };

async function install() {
  say('Installing dependencies (npm ci), which takes about half a minute …');
  const args = ['ci', '--include=dev', '--no-audit', '--no-fund', '--loglevel=error'];
  // Under `npm start` this names the very npm that runs us; there need not be one in PATH.
  const npm = process.env.npm_execpath;
  const [program, first] = npm?.endsWith('.js') ? [process.execPath, [npm]] : ['npm', []];
  await mustRun('Installing the dependencies', program, [...first, ...args], { quiet: true });
}

/**
 * npm ends an installation by writing down what it has put into node_modules, so that is compared: it notices a
 * changed lock file as well as an installation that was broken off. Optional packages are often for other machines.
 */
function isInstalled() {
  const wanted = readPackages('package-lock.json');
  const installed = readPackages('node_modules/.package-lock.json');
  return (
    wanted !== undefined &&
    installed !== undefined &&
    Object.entries(wanted).every(
      ([path, { integrity, optional }]) =>
        path === '' ||
        (installed[path] === undefined ? optional : installed[path].integrity === integrity),
    )
  );
}

/** @param {string} path */
function readPackages(path) {
  try {
    return JSON.parse(readFileSync(join(ROOT, path), 'utf8')).packages;
  } catch {
    return undefined;
  }
}
