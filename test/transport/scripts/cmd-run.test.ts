import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type StateAnswer, stateAnswerSchema } from '../../../src/remote/states/answer.ts';
import { parseStates, stateScript } from '../../../src/remote/states/parse.ts';
import { runOperation } from '../../../src/transport/run-operation.ts';
import { type CloneLab, failureOf, makeCloneLab } from './clone-lab.ts';

let lab: CloneLab;
beforeEach(async () => {
  lab = await makeCloneLab();
});
afterEach(async () => {
  await lab.close();
});

async function runState(args: Record<string, unknown>): Promise<StateAnswer & { said: string }> {
  const [state] = parseStates({ state: { 'cmd.run': [args] } });
  if (state === undefined) throw new Error('no state');
  let said = '';
  const answer = await runOperation(
    lab.connection,
    stateScript(state, {
      path: lab.path,
      isLocal: lab.connection.isLocal,
      pathOn: (path) => path,
    }),
    stateAnswerSchema,
    {
      timeoutMs: 60_000,
      onOutput: ({ stream, text }) => {
        said += `${stream === 'stderr' ? '!' : ''}${text}`;
      },
    },
  );
  return { ...answer, said };
}

describe('cmd.run', () => {
  it('runs the operator’s shell text in the deploy path and streams what it says', async () => {
    await mkdir(lab.path);
    expect(await runState({ name: 'pwd; echo "a  b" | tr a-z A-Z' })).toMatchObject({
      state: 'changed',
      exitCode: 0,
      said: `${lab.path}\nA  B\n`,
    });
    expect(await runState({ name: 'echo no >&2; exit 4' })).toMatchObject({
      state: 'failed',
      exitCode: 4,
      timedOut: false,
      said: '!no\n',
    });
  });

  it('runs where it is told to, and fails if that is not there', async () => {
    expect((await runState({ name: 'pwd', cwd: lab.root })).said).toBe(`${lab.root}\n`);
    expect((await failureOf(runState({ name: 'pwd', cwd: '/no/such' }))).code).toBe(
      'action_failed',
    );
  });

  it('heeds creates, onlyif and unless', async () => {
    const marker = join(lab.root, 'a marker');
    const touch = { name: `touch '${marker}'`, creates: marker };
    expect(await runState(touch)).toMatchObject({ state: 'changed' });
    expect(await runState(touch)).toMatchObject({ state: 'unchanged', exitCode: null, said: '' });
    expect(
      await runState({ name: 'true', unless: 'echo x; test -e "$M"', env: { M: marker } }),
    ).toMatchObject({ state: 'unchanged', said: '' });
    expect(await runState({ name: 'true', onlyif: 'exit 1' })).toMatchObject({
      state: 'unchanged',
    });
    expect(await runState({ name: 'true', onlyif: 'true', unless: 'false' })).toMatchObject({
      state: 'changed',
    });
  });

  it('ends the command and all that it started when its time is up', async () => {
    const pidFile = join(lab.root, 'pid');
    await writeFile(join(lab.root, 'child'), `echo $$ >'${pidFile}'; exec sleep 600`);
    const commandOf = (pid: string) => readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
    // On a busy machine its time may be over before it has started anything.
    let pid = '';
    for (const timeout of [1, 5, 10]) {
      const done = await runState({ name: `sh '${lab.root}/child' & sleep 600`, timeout });
      expect(done).toMatchObject({ state: 'failed', timedOut: true });
      pid = (await readFile(pidFile, 'utf8').catch(() => '')).trim();
      if (pid !== '') break;
    }
    expect(pid).not.toBe('');
    await expect.poll(() => commandOf(pid)).toBe('');
  });

  it.skipIf(process.getuid?.() !== 0)('runs as another user, with that user’s home', async () => {
    expect(
      (await runState({ name: 'id -un; echo "$HOME $LOGNAME"', runas: 'games', cwd: '/' })).said,
    ).toBe('games\n/usr/games games\n');
    expect((await failureOf(runState({ name: 'id', runas: 'nobody-here' }))).code).toBe(
      'action_failed',
    );
  });
});
