import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

// What a test run leaves in its folder: `output/`, one file for each process that wrote something, and `secrets/`,
// lines of JSON with the `name` and the `value` of each secret that the tests have made or been given.

/** Shorter ones would be found where nobody meant them, and are passed over. */
const SHORTEST_SECRET = 16;
/** Bytes of a needle by which it is found first. */
const PREFIX = 4;

/** @param {string} folder */
export function makeRunFolder(folder) {
  for (const name of ['output', 'secrets']) {
    mkdirSync(join(folder, name), { recursive: true });
  }
}

/**
 * Look through everything that the processes of a test run wrote for every secret that it used.
 * @param {string} folder
 * @param {{ mustHaveSome: boolean }} options whether it is a failure that there was nothing to look for or through,
 *   which is so for a run of all tests
 * @returns {{ passed: boolean, text: string }} what to tell; names of secrets and files, and never a value
 */
export function lookForSecrets(folder, { mustHaveSome }) {
  const secrets = readSecrets(join(folder, 'secrets'));
  const needles = makeNeedles(secrets);
  const files = existsSync(join(folder, 'output')) ? readdirSync(join(folder, 'output')) : [];
  let bytes = 0;
  const shown = [];
  for (const file of files.sort()) {
    const content = readFileSync(join(folder, 'output', file));
    bytes += content.length;
    for (const name of findNeedles(content, needles)) {
      shown.push(`${file} shows the secret: ${name}`);
    }
  }
  const processes = files.filter((file) => file !== 'vitest.log').length;
  const text = `Looked through ${(bytes / 1e6).toFixed(1)} MB of output of vitest and ${processes} processes for ${secrets.size} secrets`;
  if (shown.length > 0) {
    return { passed: false, text: `${text}:\n${shown.join('\n')}` };
  }
  if (secrets.size === 0 || processes === 0) {
    const reason = 'there is nothing to look for, or nothing to look through';
    return { passed: !mustHaveSome, text: `${text}: ${reason}.` };
  }
  return { passed: true, text: `${text}: none is shown.` };
}

/**
 * @param {string} folder
 * @returns {Map<string, string>} names by value
 */
function readSecrets(folder) {
  const secrets = new Map();
  for (const file of existsSync(folder) ? readdirSync(folder) : []) {
    for (const line of readFileSync(join(folder, file), 'utf8').split('\n')) {
      if (line !== '') {
        const { name, value } = JSON.parse(line);
        if (value.length >= SHORTEST_SECRET) {
          secrets.set(value, name);
        }
      }
    }
  }
  return secrets;
}

/**
 * The forms in which a secret may be written: as it is, in JSON, in a URL; of what has several lines, such as a private
 * key, each line by itself but for the first half, which is the same in many keys or not secret.
 * @param {Map<string, string>} secrets names by value
 * @returns {Map<number, { bytes: Buffer, name: string }[]>} by their first bytes
 */
function makeNeedles(secrets) {
  const needles = new Map();
  for (const [value, name] of secrets) {
    const lines = value.split('\n').filter((line) => line !== '' && !line.startsWith('-----'));
    const parts = lines.length > 1 ? lines.slice(Math.ceil(lines.length / 2)) : [value];
    const forms = parts.flatMap((part) => [
      part,
      JSON.stringify(part).slice(1, -1),
      encodeURIComponent(part),
    ]);
    for (const form of new Set(forms)) {
      const bytes = Buffer.from(form);
      if (bytes.length >= SHORTEST_SECRET) {
        const prefix = bytes.readUInt32BE(0);
        needles.set(prefix, [...(needles.get(prefix) ?? []), { bytes, name }]);
      }
    }
  }
  return needles;
}

/**
 * One pass over the content, however many needles there are.
 * @param {Buffer} content
 * @param {Map<number, { bytes: Buffer, name: string }[]>} needles
 * @returns {Set<string>} names
 */
function findNeedles(content, needles) {
  const found = new Set();
  const isFirst = new Uint8Array(2 ** 16);
  for (const prefix of needles.keys()) {
    isFirst[prefix & 0xffff] = 1;
  }
  let prefix = 0;
  for (let end = 1; end <= content.length; end += 1) {
    prefix = ((prefix << 8) | content[end - 1]) >>> 0;
    if (isFirst[prefix & 0xffff] === 1 && end >= PREFIX) {
      const start = end - PREFIX;
      for (const { bytes, name } of needles.get(prefix) ?? []) {
        if (content.subarray(start, start + bytes.length).equals(bytes)) {
          found.add(name);
        }
      }
    }
  }
  return found;
}
