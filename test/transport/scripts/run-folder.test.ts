import { spawnSync } from 'node:child_process';
import { access, mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { z } from 'zod';
import {
  endRunsAnswerSchema,
  endRunsScript,
  followRunScript,
} from '../../../src/remote/run-folder.ts';
import { defineScript, type RemoteScript } from '../../../src/remote/script.ts';
import { connectLocal } from '../../../src/transport/local.ts';
import { runOperation } from '../../../src/transport/run-operation.ts';
import {
  makeTemporaryDirectory,
  type TemporaryDirectory,
} from '../../support/temporary-directory.ts';
import { availableShells, failureOf } from './clone-lab.ts';

const PATIENCE = { timeout: 60_000 };
const DONE = `printf '\\n{"ok":true}\\n'`;
const HOSTILE = ['', "it's 'so'", '"$HOME" `id` \\ %s !!', "a'\nb\n\n", '-n', 'ünï日本'];

const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );

/** What a run is asked for, beside its defaults. */
interface Asked {
  readonly script?: RemoteScript;
  readonly step?: string;
  readonly name?: string;
  readonly fence?: number;
  readonly offset?: number;
  readonly signal?: AbortSignal;
}

describe.each((await availableShells()).map((argv) => ({ shell: argv.join(' '), argv })))(
  'a run under $shell',
  ({ argv }) => {
    let directory: TemporaryDirectory;
    let gitDir: string;
    let file: (name: string) => string;
    const connect = () =>
      connectLocal({
        name: 'lab',
        root: directory.path,
        searchPath: process.env['PATH'] ?? '',
        shell: argv,
      });
    const say = (text: string, ...args: string[]): RemoteScript =>
      defineScript({ name: 'probe', text: `${text}\n${DONE}`, args });
    const follow = async ({ signal, ...asked }: Asked): Promise<{ said: string; told: number }> => {
      const request = {
        gitDir,
        step: 'step-1',
        name: 'prepull-0',
        fence: 1,
        offset: 0,
        script: say(''),
      };
      const connection = await connect();
      let said = '';
      let told = 0;
      await runOperation(
        connection,
        followRunScript({ ...request, ...asked }),
        z.object({ ok: z.literal(true) }),
        {
          timeoutMs: 120_000,
          ...(signal && { signal }),
          onOutput: ({ stream, text, toldBytes }) => {
            if (stream === 'stdout') said += text;
            told = toldBytes;
          },
        },
      );
      return { said, told };
    };
    const end = async (fence: number | null = 1): Promise<number> => {
      const script = endRunsScript({ gitDir, fence });
      const options = { timeoutMs: 120_000 };
      return (await runOperation(await connect(), script, endRunsAnswerSchema, options)).ended;
    };

    beforeEach(async () => {
      directory = await makeTemporaryDirectory();
      gitDir = join(directory.path, '.git');
      file = (name) => join(directory.path, name);
      await mkdir(gitDir);
    });
    afterEach(async () => {
      await end(null);
      await directory.remove();
    });

    it('gives its script arguments, environment and nothing to read, and tells all that it says', async () => {
      const script = {
        ...say('cat; printf "%s|" "$SECRET" "$@"; echo; echo to stderr >&2', ...HOSTILE),
        env: { SECRET: 'hush $HOME' },
      };
      const said = `hush $HOME|${HOSTILE.join('|')}|\nto stderr\n`;
      expect(await follow({ script })).toEqual({ said, told: Buffer.byteLength(said) });
      const seen = spawnSync('find', [
        gitDir,
        '-perm',
        '/077',
        '-path',
        '*muster-runs*',
        '-type',
        'd',
      ]);
      expect(seen.stdout.toString()).toBe('');
      expect((await stat(join(gitDir, 'muster-runs'))).mode & 0o777).toBe(0o700);
    });

    it('is started once, and told again from any byte', async () => {
      const script = say('echo begun >>"$1"; echo "äöü 日本"; exec 2>&1; echo end', file('marker'));
      const { said } = await follow({ script });
      const bytes = Buffer.from(said);
      for (const offset of [0, 1, 6, bytes.length]) {
        const again = await follow({ script, offset });
        expect(again.told).toBe(bytes.length - offset);
        if (offset !== 1) expect(again.said).toBe(bytes.subarray(offset).toString());
      }
      expect(await readFile(file('marker'), 'utf8')).toBe('begun\n');
    });

    it('goes on when nobody follows it, and whoever comes next hears the rest', async () => {
      const script = say(
        'echo begun >>"$1"; echo one; until [ -e "$2" ]; do sleep 0.05; done; echo two; echo end >>"$1"',
        file('marker'),
        file('gate'),
      );
      const left = new AbortController();
      const first = follow({ script, signal: left.signal });
      await expect.poll(() => exists(file('marker')), PATIENCE).toBe(true);
      left.abort(new Error('the worker is gone'));
      await expect(first).rejects.toThrow('the worker is gone');
      const second = follow({ script, offset: 4, fence: 2 });
      await writeFile(file('gate'), '');
      expect(await second).toEqual({ said: 'two\n', told: 4 });
      expect(await readFile(file('marker'), 'utf8')).toBe('begun\nend\n');
    });

    it('tells what it says while it goes on', async () => {
      const script = say(
        'echo one; until [ -e "$1" ]; do sleep 0.05; done; echo two',
        file('gate'),
      );
      const connection = await connect();
      let said = '';
      const done = runOperation(
        connection,
        followRunScript({ gitDir, step: 's', name: 'n', fence: 1, offset: 0, script }),
        z.object({ ok: z.literal(true) }),
        {
          timeoutMs: 120_000,
          onOutput: ({ text }) => {
            said += text;
          },
        },
      );
      await expect.poll(() => said, PATIENCE).toBe('one\n');
      await writeFile(file('gate'), '');
      await done;
      expect(said).toBe('one\ntwo\n');
    });

    it('says of itself that it was ended from outside', async () => {
      const byItself = failureOf(follow({ script: say('kill -s KILL $$'), name: 'a' }));
      expect(await byItself).toMatchObject({ code: 'action_interrupted', retryable: false });
      const keeper = failureOf(follow({ script: say('kill -s KILL $PPID'), name: 'b' }));
      expect((await keeper).message).toContain('gone without a word');
      const removed = failureOf(follow({ name: 'c', offset: 1 }));
      expect((await removed).code).toBe('action_interrupted');
    });

    it('refuses an older fence, and makes way for a newer one', async () => {
      await follow({ fence: 5 });
      expect((await failureOf(follow({ fence: 4 }))).code).toBe('fenced_off');
      expect((await failureOf(end(4))).code).toBe('fenced_off');
      const script = say('echo begun >"$1"; sleep 300', file('marker'));
      const older = failureOf(follow({ script, name: 'prepull-1', fence: 5 }));
      await expect.poll(() => exists(file('marker')), PATIENCE).toBe(true);
      await follow({ step: 'step-2', fence: 6 });
      expect((await older).code).toBe('action_interrupted');
      expect(await readdir(join(gitDir, 'muster-runs'))).toEqual(['step-2']);
      expect(await readFile(join(gitDir, 'muster-fence'), 'utf8')).toBe('6\n');
    });

    it('is ended with all that it started, also what does not heed TERM, and leaves nothing', async () => {
      const script = say(
        `trap 'echo cleaned >"$2"; exit 1' TERM
        sh -c 'trap "" TERM; echo $$ >"$1"; while :; do sleep 1; done' muster "$1" & wait`,
        file('pid'),
        file('cleaned'),
      );
      const followed = failureOf(follow({ script }));
      await expect
        .poll(async () => (await readFile(file('pid'), 'utf8').catch(() => '')).trim(), PATIENCE)
        .not.toBe('');
      const child = Number(await readFile(file('pid'), 'utf8'));
      expect(await end()).toBe(1);
      expect(['action_interrupted', 'command_failed']).toContain((await followed).code);
      expect(await readFile(file('cleaned'), 'utf8')).toBe('cleaned\n');
      await expect.poll(() => isRunning(child), PATIENCE).toBe(false);
      expect(await readdir(gitDir)).toEqual(['muster-fence']);
      expect(await end()).toBe(0);
    });

    it('needs a clone to be in', async () => {
      gitDir = file('no/.git');
      expect((await failureOf(follow({}))).code).toBe('clone_missing');
    });
  },
);

/** Whether a process lives; a zombie, which nobody has reaped, does not. */
async function isRunning(pid: number): Promise<boolean> {
  const state = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => ') X');
  return !/\) [ZX]/.test(state);
}
