import { AppError } from '../../domain/errors.ts';
import type { StateContext } from './state.ts';

/**
 * Refuse what a folder does not have.
 * @throws {AppError} `action_failed` if a folder stands for the server
 */
export function refuseOnLocalServer(name: string, context: StateContext): void {
  if (!context.isLocal) return;
  throw new AppError(
    'action_failed',
    `${name} cannot run on a local server, as a folder has no services and no packages of its own; take the state out, or deploy to a server that is reached over SSH.`,
    { details: { function: name } },
  );
}
