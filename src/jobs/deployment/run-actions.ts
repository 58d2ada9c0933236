import { AppError } from '../../domain/errors.ts';
import { endRunsAnswerSchema, endRunsScript, followRunScript } from '../../remote/run-folder.ts';
import { type StateAnswer, stateAnswerSchema } from '../../remote/states/answer.ts';
import { parseStates, stateScript } from '../../remote/states/parse.ts';
import type { State } from '../../remote/states/state.ts';
import type { Connection } from '../../transport/connection.ts';
import { runOperation } from '../../transport/run-operation.ts';
import type { StepLog } from './step-log.ts';
import { advance, type StepTrack } from './step-track.ts';

/** Ending what does not end by itself takes 5 seconds for each. */
const END_TIMEOUT_MS = 60_000;

/** Whose scripts run on a server, and with which right. */
export interface RunsOfClone {
  readonly connection: Connection;
  /** The git directory of the clone, as scripts name it. */
  readonly gitDir: string;
  /** Of the lease; null for who ends all of them, whosever they are. */
  readonly fence: number | null;
}

export interface ActionsRun extends RunsOfClone {
  readonly fence: number;
  /** Where the gitdeploy is on the server. */
  readonly path: string;
  /** Each state has its own time limit; this one catches a server that does not keep it. */
  readonly timeoutMs: number;
  /** Aborted when the states are to end: cancelled, or as `lost`. */
  readonly signal: AbortSignal;
  /** Aborted when they are another worker's to follow: then they go on. */
  readonly lost: AbortSignal;
  readonly track: StepTrack;
  readonly log: StepLog;
}

/** A list of states of a gitdeploy, and when it is run. */
type Stage = 'prepull' | 'postpull';

/**
 * Runs the states of prepull or postpull in order and stops at the first that fails. Each goes on when the connection
 * or this worker is lost; one that was begun is followed from where it was told, and what has ended is passed over.
 * @throws {AppError} `action_failed`, `action_interrupted`, `command_timeout`, and what the connection throws
 */
export async function runActions(
  stage: Stage,
  forms: Readonly<Record<string, unknown>>,
  run: ActionsRun,
): Promise<void> {
  const { progress } = run.track;
  if (progress.stage !== stage) return;
  const states = parseStates(forms);
  for (const [index, state] of states.entries()) {
    if (index >= progress.state) await runState({ stage, index, state }, run);
  }
}

/**
 * Ends all that runs detached for a clone, and removes what was kept of it.
 * @throws {AppError} `fenced_off`, `command_failed`, and what the connection throws
 */
export async function endRuns(
  { connection, gitDir, fence }: RunsOfClone,
  signal: AbortSignal,
): Promise<void> {
  await runOperation(connection, endRunsScript({ gitDir, fence }), endRunsAnswerSchema, {
    asRoot: true,
    timeoutMs: END_TIMEOUT_MS,
    signal,
  });
}

interface PlacedState {
  readonly stage: Stage;
  readonly index: number;
  readonly state: State;
}

/** How a state ended, and whether the last line of its output still has no end. */
interface FollowedState {
  readonly answer: StateAnswer;
  readonly isLineOpen: boolean;
}

async function runState(placed: PlacedState, run: ActionsRun): Promise<void> {
  const { stage, index, state } = placed;
  const { log, track } = run;
  const { answer, isLineOpen } = await askState(placed, run);
  const exit = answer.exitCode === null ? '' : `, exit code ${answer.exitCode}`;
  const label = `${isLineOpen ? '\n' : ''}${stage} ${state.id} (${state.function}): ${answer.state}${exit}\n`;
  if (answer.state !== 'failed') {
    log.write(label, advance(track, { state: index + 1, offset: 0 }));
    return;
  }
  log.write(label);
  const details = { ...detailsOf(placed), exit_code: answer.exitCode };
  if (answer.timedOut) throw timeoutError(placed, details);
  throw new AppError(
    'action_failed',
    `The ${stage} state \`${state.id}\` failed with exit code ${answer.exitCode}. The step's log has its output.`,
    { details },
  );
}

/** What a state's script refuses by itself is told with the state that it was. */
async function askState(placed: PlacedState, run: ActionsRun): Promise<FollowedState> {
  const { stage, state } = placed;
  try {
    return await followState(placed, run);
  } catch (error) {
    if (run.lost.aborted || !(error instanceof AppError)) throw error;
    const isTimeUp = error.code === 'command_timeout';
    if (run.signal.aborted || isTimeUp) await endRuns(run, run.lost);
    if (isTimeUp) throw timeoutError(placed, { ...error.details, ...detailsOf(placed) });
    if (error.code !== 'action_failed' && error.code !== 'action_interrupted') throw error;
    throw new AppError(error.code, `The ${stage} state \`${state.id}\` failed: ${error.message}`, {
      details: { ...error.details, ...detailsOf(placed) },
      cause: error,
    });
  }
}

async function followState(
  { stage, index, state }: PlacedState,
  run: ActionsRun,
): Promise<FollowedState> {
  const { connection, gitDir, fence, track, log } = run;
  const { offset } = track.progress;
  const script = stateScript(state, {
    path: connection.pathOn(run.path),
    isLocal: connection.isLocal,
    pathOn: (path) => connection.pathOn(path),
  });
  const name = `${stage}-${index}`;
  const follow = followRunScript({ gitDir, fence, step: track.runs, name, offset, script });
  let isLineOpen = false;
  const answer = await runOperation(connection, follow, stateAnswerSchema, {
    asRoot: true,
    timeoutMs: run.timeoutMs,
    signal: run.signal,
    onOutput: ({ stream, text, toldBytes }) => {
      isLineOpen = !text.endsWith('\n');
      if (stream === 'stderr') log.write(text);
      else log.write(text, advance(track, { offset: offset + toldBytes }));
    },
  });
  return { answer, isLineOpen };
}

function detailsOf({ stage, state }: PlacedState): Record<string, unknown> {
  return { phase: stage, state: state.id, function: state.function };
}

function timeoutError({ stage, state }: PlacedState, details: Record<string, unknown>): AppError {
  return new AppError(
    'command_timeout',
    `The ${stage} state \`${state.id}\` did not end in its time and was stopped. Give it a longer \`timeout\`, or see in the step's log what it waits for.`,
    { details },
  );
}
