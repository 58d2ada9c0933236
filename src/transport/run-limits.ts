import { AppError } from '../domain/errors.ts';
import type { RemoteScript } from '../remote/script.ts';

/** Between asking a script to end and ending it. */
export const TERM_GRACE_MS = 3000;

/**
 * Call `stop` once with the reason when a script's time is up (`command_timeout`) or its signal is aborted.
 * @returns a function that ends the watch
 */
export function watchTheClock(
  script: RemoteScript,
  limits: { readonly timeoutMs: number; readonly signal: AbortSignal | undefined },
  stop: (reason: unknown) => void,
): () => void {
  const { timeoutMs, signal } = limits;
  const timer = setTimeout(() => {
    stop(
      new AppError(
        'command_timeout',
        `${script.name} did not end within ${timeoutMs / 1000} s and was stopped; see what holds it up on the server.`,
        { details: { operation: script.name, timeoutMs }, retryable: true },
      ),
    );
  }, timeoutMs);
  // A signal of its own: hundreds of scripts may share the caller's, which Node would warn of as a leak.
  const own = signal === undefined ? undefined : AbortSignal.any([signal]);
  const abort = (): void => stop(own?.reason);
  own?.addEventListener('abort', abort, { once: true });
  return () => {
    clearTimeout(timer);
    own?.removeEventListener('abort', abort);
  };
}
