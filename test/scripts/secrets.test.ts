import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { generateKeypair } from '../../src/transport/keypairs.ts';
import { makeTemporaryDirectory, type TemporaryDirectory } from '../support/temporary-directory.ts';

interface Verdict {
  readonly passed: boolean;
  readonly text: string;
}

const SCRIPT = join(import.meta.dirname, '../../scripts/bootstrap/secrets.mjs');
const SECRET = 'a/secret"with all+kinds&of=characters\u00e4';

describe('the look through a test run for its secrets', () => {
  let folder: TemporaryDirectory;
  let look: (options?: { mustHaveSome: boolean }) => Verdict;

  beforeEach(async () => {
    folder = await makeTemporaryDirectory();
    // What runs before anything is built is JavaScript, without types.
    const script = await import(pathToFileURL(SCRIPT).href);
    script.makeRunFolder(folder.path);
    look = (options = { mustHaveSome: true }) => script.lookForSecrets(folder.path, options);
  });
  afterEach(() => folder.remove());

  const write = (file: string, text: string) => writeFile(join(folder.path, 'output', file), text);
  const register = (...values: string[]) =>
    writeFile(
      join(folder.path, 'secrets', '1.jsonl'),
      values.map((value, n) => `${JSON.stringify({ name: `secret ${n}`, value })}\n`).join(''),
    );

  it('passes a run that shows none, and says how much it looked through', async () => {
    await register(SECRET, 'too short');
    await write('vitest.log', 'x'.repeat(2_000_000));
    await write('server.log', 'too short');
    expect(look()).toEqual({
      passed: true,
      text: 'Looked through 2.0 MB of output of vitest and 1 processes for 1 secrets: none is shown.',
    });
  });

  it.each([
    ['as it is', SECRET],
    ['in JSON', JSON.stringify({ url: SECRET })],
    ['in a URL', `http://x/?token=${encodeURIComponent(SECRET)}`],
    ['right after its own beginning', `a/sea/s${SECRET}`],
  ])(
    'fails one that shows a secret %s, and names file and secret without showing it',
    async (_how, text) => {
      await register('another-secret-of-the-run', SECRET);
      await write('server.log', 'nothing');
      await write('worker.log', `${'line\n'.repeat(50_000)}${text}`);
      const { passed, text: told } = look();
      expect(passed).toBe(false);
      expect(told).toContain('worker.log shows the secret: secret 1');
      expect(told).not.toContain('server.log');
      expect(told).not.toContain('secret 0');
      expect(told).not.toContain(SECRET);
    },
  );

  it('finds any line of the secret half of a private key, and no public one', async () => {
    const { privateKey, publicKey } = generateKeypair();
    const { privateKey: other } = generateKeypair();
    await register(privateKey);
    await write('server.log', `${publicKey}\n${other}`);
    expect(look().passed).toBe(true);
    const [line = ''] = privateKey.trim().split('\n').slice(-3, -2);
    await write('server.log', JSON.stringify({ said: `…${line}` }));
    expect(look().passed).toBe(false);
  });

  it('also looks through what vitest itself writes', async () => {
    await register(SECRET);
    await write('vitest.log', `expected ${SECRET}`);
    await write('server.log', 'nothing');
    expect(look().text).toContain('vitest.log shows the secret');
  });

  it('fails a run of all tests that leaves nothing to look for or through, but not one of some', async () => {
    await write('vitest.log', 'fine');
    expect(look()).toMatchObject({ passed: false, text: expect.stringContaining('nothing') });
    await register(SECRET);
    expect(look().passed).toBe(false);
    await write('server.log', 'fine');
    expect(look().passed).toBe(true);
    await register('short');
    expect(look().passed).toBe(false);
    expect(look({ mustHaveSome: false }).passed).toBe(true);
  });
});
