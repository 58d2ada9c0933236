import { AppError } from '../../domain/errors.ts';
import { stateAnswerSchema } from '../../remote/states/answer.ts';
import { parseStates, stateScript } from '../../remote/states/parse.ts';
import type { State } from '../../remote/states/state.ts';
import type { Connection } from '../../transport/connection.ts';
import { runOperation } from '../../transport/run-operation.ts';
import type { StepLog } from './step-log.ts';

export interface ActionsRun {
  readonly connection: Connection;
  /** Where the gitdeploy is on the server. */
  readonly path: string;
  /** Each state has its own time limit; this one catches a server that does not keep it. */
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
  readonly log: StepLog;
}

/**
 * Runs the states of prepull or postpull in order and stops at the first that fails.
 * @throws {AppError} `action_failed`, `command_timeout`, and what the connection throws
 */
export async function runActions(
  phase: 'prepull' | 'postpull',
  forms: Readonly<Record<string, unknown>>,
  run: ActionsRun,
): Promise<void> {
  for (const state of parseStates(forms)) await runState(phase, state, run);
}

async function runState(phase: string, state: State, run: ActionsRun): Promise<void> {
  const { connection, log } = run;
  const label = `${phase} ${state.id} (${state.function})`;
  const script = stateScript(state, {
    path: connection.pathOn(run.path),
    isLocal: connection.isLocal,
    pathOn: (path) => connection.pathOn(path),
  });
  const answer = await runOperation(connection, script, stateAnswerSchema, {
    asRoot: true,
    timeoutMs: run.timeoutMs,
    signal: run.signal,
    onOutput: ({ text }) => log.write(text),
  });
  log.write(
    `${label}: ${answer.state}${answer.exitCode === null ? '' : `, exit code ${answer.exitCode}`}\n`,
  );
  if (answer.state !== 'failed') return;
  const details = { phase, state: state.id, function: state.function, exit_code: answer.exitCode };
  if (answer.timedOut) {
    throw new AppError(
      'command_timeout',
      `The ${phase} state \`${state.id}\` did not end in its time and was stopped. Give it a longer \`timeout\`, or see in the step's log what it waits for.`,
      { details },
    );
  }
  throw new AppError(
    'action_failed',
    `The ${phase} state \`${state.id}\` failed with exit code ${answer.exitCode}. The step's log has its output.`,
    { details },
  );
}
