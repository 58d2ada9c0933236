import { AppError } from '../../domain/errors.ts';
import { type StateAnswer, stateAnswerSchema } from '../../remote/states/answer.ts';
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

/** What a state's script refuses by itself is told with the state that it was. */
async function askState(phase: string, state: State, run: ActionsRun): Promise<StateAnswer> {
  const { connection, log } = run;
  try {
    const script = stateScript(state, {
      path: connection.pathOn(run.path),
      isLocal: connection.isLocal,
      pathOn: (path) => connection.pathOn(path),
    });
    return await runOperation(connection, script, stateAnswerSchema, {
      asRoot: true,
      timeoutMs: run.timeoutMs,
      signal: run.signal,
      onOutput: ({ text }) => log.write(text),
    });
  } catch (error) {
    if (!(error instanceof AppError) || error.code !== 'action_failed') throw error;
    throw new AppError(error.code, `The ${phase} state \`${state.id}\` failed: ${error.message}`, {
      details: { ...error.details, phase, state: state.id, function: state.function },
      cause: error,
    });
  }
}

async function runState(phase: string, state: State, run: ActionsRun): Promise<void> {
  const { log } = run;
  const label = `${phase} ${state.id} (${state.function})`;
  const answer = await askState(phase, state, run);
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
