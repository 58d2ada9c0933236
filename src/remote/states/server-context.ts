import { AppError } from '../../domain/errors.ts';
import type { StateContext } from './state.ts';

/** What states that name files, services or packages of the server have to know of it. */
export interface ServerContext extends StateContext {
  /** True if a folder of Muster's own machine stands for the server. */
  readonly isLocal: boolean;
  /** What an absolute path of the server is called for scripts: `Connection.pathOn`. */
  readonly pathOn: (path: string) => string;
}

/**
 * The context of a state that acts on more than the gitdeploy's own path. Without it nothing is run: on a local
 * server the same names would mean the machine that Muster itself runs on.
 * @throws {AppError} `internal` if whoever runs the state has not said what kind of server it is
 */
export function requireServerContext(context: StateContext): ServerContext {
  if (isServerContext(context)) return context;
  throw new AppError(
    'internal',
    'This state was given no server to act on; please report that to Muster’s developers.',
  );
}

/**
 * Refuse what a folder does not have.
 * @throws {AppError} `action_failed` if a folder stands for the server
 */
export function refuseOnLocalServer(name: string, context: StateContext): void {
  if (!requireServerContext(context).isLocal) return;
  throw new AppError(
    'action_failed',
    `${name} cannot run on a local server, as a folder has no services and no packages of its own; take the state out, or deploy to a server that is reached over SSH.`,
    { details: { function: name } },
  );
}

function isServerContext(context: StateContext): context is ServerContext {
  return 'isLocal' in context && 'pathOn' in context;
}
