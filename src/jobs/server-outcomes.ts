import { counted } from '../domain/counted.ts';
import { AppError, type ErrorBody, toErrorBody } from '../domain/errors.ts';

/** How one server fared in a job that works on several: one bad server does not stop the others. */
export type ServerOutcome =
  | { readonly status: string; readonly [detail: string]: unknown }
  | { readonly status: 'failed'; readonly error: ErrorBody };

/** Collects what happened on each server. */
export class ServerOutcomes {
  readonly #byServer = new Map<string, ServerOutcome>();

  add(server: string, outcome: ServerOutcome): void {
    this.#byServer.set(server, outcome);
  }

  /** Runs `work` and keeps its outcome, or the error it threw. @returns the outcome */
  async record(server: string, work: () => Promise<ServerOutcome>): Promise<ServerOutcome> {
    let outcome: ServerOutcome;
    try {
      outcome = await work();
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
      outcome = { status: 'failed', error: toErrorBody(error) };
    }
    this.add(server, outcome);
    return outcome;
  }

  /** By server, sorted by name. */
  toObject(): Record<string, ServerOutcome> {
    return Object.fromEntries([...this.#byServer].sort(([a], [b]) => (a < b ? -1 : 1)));
  }

  /**
   * Throws if any server failed. Where all failures are of one kind the error has that code, so that a caller who
   * waits sees the real reason; `details.servers` has the outcome of every server either way.
   * @throws {AppError}
   */
  throwIfAnyFailed(what: string): void {
    const failed = [...this.#byServer].flatMap(([server, outcome]) => {
      const error = errorOf(outcome);
      return error === null ? [] : [{ server, error }];
    });
    const [first] = failed;
    if (first === undefined) return;
    const codes = new Set(failed.map(({ error }) => error.code));
    const reasons = failed.slice(0, 3).map(({ server, error }) => `${server}: ${error.message}`);
    throw new AppError(
      codes.size === 1 ? first.error.code : 'servers_failed',
      `${what} failed on ${failed.length} of ${counted(this.#byServer.size, 'server')}. ${reasons.join(' ')}${failed.length > 3 ? ' …' : ''}`,
      {
        details: { ...(failed.length === 1 ? first.error.details : {}), servers: this.toObject() },
      },
    );
  }
}

function errorOf(outcome: ServerOutcome): ErrorBody | null {
  return outcome.status === 'failed' && 'error' in outcome ? (outcome.error as ErrorBody) : null;
}
