import { defineScript, type RemoteScript } from '../../../src/remote/script.ts';
import { type StateAnswer, stateAnswerSchema } from '../../../src/remote/states/answer.ts';
import { parseStates, stateScript } from '../../../src/remote/states/parse.ts';
import type { StateContext } from '../../../src/remote/states/state.ts';
import type { Connection } from '../../../src/transport/connection.ts';
import { runOperation } from '../../../src/transport/run-operation.ts';

/** Where the gitdeploy of these tests is. */
const CLONE = '/opt/app';
const TIMEOUT_MS = 30_000;

/** How states are run on one server. */
export interface StateLab {
  /** Run one state; `output` is all that it said. */
  run(form: unknown): Promise<{ answer: StateAnswer; output: string }>;
  /** `changed`, `unchanged` or `failed` of a state. */
  state(form: unknown): Promise<string>;
  /** What a shell text prints there, with `$1…` as given; throws if it fails. */
  look(text: string, ...args: string[]): Promise<string>;
}

/** The states on that server; under another `PATH`, or a shell other than the server's own, if it is given. */
export function makeStateLab(
  connection: Connection,
  options: {
    readonly isLocal: boolean;
    readonly path?: string | undefined;
    readonly shell?: readonly string[];
  },
): StateLab {
  const { isLocal, path, shell } = options;
  const context: StateContext = {
    path: connection.pathOn(CLONE),
    isLocal,
    pathOn: (one) => connection.pathOn(one),
  };
  const env = path === undefined ? {} : { PATH: path };
  const lab: StateLab = {
    run: async (form) => {
      const [state, ...more] = parseStates(form);
      if (state === undefined || more.length > 0) throw new Error('one state, please');
      const script = { ...underShell(stateScript(state, context), shell), env };
      let output = '';
      const answer = await runOperation(connection, script, stateAnswerSchema, {
        timeoutMs: TIMEOUT_MS,
        onOutput: ({ text }) => {
          output += text;
        },
      });
      return { answer, output };
    },
    state: async (form) => (await lab.run(form)).answer.state,
    look: async (text, ...args) => {
      const script = defineScript({ name: 'look', text, args });
      const ended = await connection.run(script, { timeoutMs: TIMEOUT_MS });
      if (ended.exitCode !== 0) throw new Error(`${text}: ${ended.stderr}`);
      return ended.stdout;
    },
  };
  return lab;
}

/** The same script, in a shell that the server would not have taken for it. */
function underShell(script: RemoteScript, shell: readonly string[] = []): RemoteScript {
  const [program, ...options] = shell;
  if (program === undefined) return script;
  return {
    name: script.name,
    text: 'exec "$@"',
    args: [program, ...options, '-c', script.text, 'muster', ...script.args],
  };
}
