import { chmod, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterEach, describe, expect, it } from 'vitest';
import { clockAnswerSchema, clockScript } from '../../../src/remote/clock.ts';
import { inspectAnswerSchema, inspectScript } from '../../../src/remote/inspect.ts';
import { stateAnswerSchema } from '../../../src/remote/states/answer.ts';
import { parseStates, stateScript } from '../../../src/remote/states/parse.ts';
import { runOperation } from '../../../src/transport/run-operation.ts';
import {
  availableShells,
  BRANCH,
  type CloneLab,
  cutsOf,
  failureOf,
  HOSTILE,
  makeCloneLab,
  snapshot,
} from './clone-lab.ts';

let lab: CloneLab | undefined;
afterEach(async () => {
  await lab?.close();
});

describe.each((await availableShells()).map((argv) => ({ shell: argv.join(' '), argv })))(
  'under $shell',
  ({ argv }) => {
    it('every script does its work from the first clone to the last file', async () => {
      lab = await makeCloneLab(argv);
      const file = (name: string): string => join(lab?.path ?? '', name);
      const one = lab.upstream.commit({ a: '1\n', b: '1\n', gone: '1\n', ...HOSTILE });
      expect(await lab.initialize(one, { gitignore: ['*.log', 'a b'] })).toMatchObject({
        state: 'created',
      });
      expect(await lab.initialize(one)).toMatchObject({ state: 'already' });

      const two = lab.upstream.commit(
        { a: '2\n', b: '1\n', gone: '1\n', 'x.log': 'build\n', ...HOSTILE },
        one,
      );
      expect(await lab.deploy(two, one, { together: true })).toMatchObject({
        state: 'switched',
        changedFiles: 2,
      });

      await writeFile(file('b'), 'by hand\n');
      await writeFile(file('new\nfile'), 'mine\n');
      await chmod(file('b'), 0o755);
      const three = lab.upstream.commit(
        { a: '3\n', b: '1\n', gone: '1\n', 'new\nfile': 'build\n', 'x.log': 'build\n', ...HOSTILE },
        two,
      );
      // A busybox may have a tar of its own that goes before the one in PATH.
      for (const arriving of Object.values(cutsOf(lab.upstream.indexedPack(three, two)))) {
        const error = await failureOf(lab.stageIndexed(three, two, () => Readable.from(arriving)));
        expect([error.code, error.retryable]).toEqual(['command_failed', true]);
      }
      expect(await lab.stageIndexed(three, two)).toEqual({ ok: true, state: 'staged' });
      expect(await lab.switchTo(three, { together: true })).toMatchObject({ state: 'merged' });
      expect([
        await readFile(file('b'), 'utf8'),
        await readFile(file('new\nfile'), 'utf8'),
      ]).toEqual(['by hand\n', 'mine\n']);

      await writeFile(file('gone'), 'by hand\n');
      const four = lab.upstream.commit({ a: '4\n' }, three);
      await lab.stage(four, three);
      const before = snapshot(lab.path);
      expect((await failureOf(lab.switchTo(four))).details).toEqual({
        files: ['new\nfile', 'b', 'gone'],
      });
      expect(snapshot(lab.path)).toBe(before);

      expect(
        await runOperation(
          lab.connection,
          inspectScript({ root: '/', clones: [{ path: lab.path, branch: BRANCH }] }),
          inspectAnswerSchema,
          { timeoutMs: 60_000 },
        ),
      ).toMatchObject({
        clones: [
          {
            state: 'clone',
            branch: 'master',
            deployed: three,
            base: three,
            modified: true,
            localCommits: 1,
          },
        ],
      });
      const clock = await runOperation(lab.connection, clockScript(), clockAnswerSchema, {
        timeoutMs: 60_000,
      });
      expect(Math.abs(clock.epochMs - Date.now())).toBeLessThan(60_000);

      const [state] = parseStates({
        say: {
          cmd: [{ name: 'echo "$GREETING"; exit 3' }, { env: { GREETING: "it's" } }, 'run'],
        },
      });
      if (state === undefined) throw new Error('no state');
      let said = '';
      expect(
        await runOperation(
          lab.connection,
          stateScript(state, {
            path: lab.path,
            isLocal: lab.connection.isLocal,
            pathOn: (path) => path,
          }),
          stateAnswerSchema,
          {
            timeoutMs: 60_000,
            onOutput: ({ text }) => {
              said += text;
            },
          },
        ),
      ).toEqual({ ok: true, state: 'failed', exitCode: 3, timedOut: false });
      expect(said).toBe("it's\n");

      expect((await lab.deinitialize()).left.toSorted()).toEqual(['b', 'gone', 'new\nfile']);
    });
  },
);
