import { type FreezeWindow, frozenUntil } from './freeze-window.ts';
import type { WaitingFor } from './waiting-for.ts';

/** The batch that has just run, as what comes next depends on it. */
export interface FinishedBatch {
  readonly index: number;
  readonly finishedAt: Date;
  readonly pauseAfterSeconds: number;
  /** Whether a user must say yes to what comes after it. */
  readonly approvalAfter: boolean;
  readonly approvedAt: Date | null;
}

export interface GateInput {
  /** Null before the first batch. */
  readonly previous: FinishedBatch | null;
  /** Freeze windows of the environments that the next batch has servers in; none if they are overridden. */
  readonly freezeWindows: readonly FreezeWindow[];
  readonly now: Date;
}

/**
 * What must be waited for before a batch begins: an approval, then the rest of the pause, then the end of a freeze;
 * null if it may begin. The pause runs while the approval is waited for.
 */
export function closedGate({ previous, freezeWindows, now }: GateInput): WaitingFor | null {
  if (previous !== null) {
    const { index, approvalAfter, approvedAt, finishedAt, pauseAfterSeconds } = previous;
    if (approvalAfter && approvedAt === null) return { kind: 'approval', after_batch: index };
    const until = new Date(finishedAt.getTime() + pauseAfterSeconds * 1000);
    if (until > now) return { kind: 'pause', after_batch: index, until: until.toISOString() };
  }
  return longestFreeze(freezeWindows, now);
}

/** Of all freezes that hold now, the one that holds longest. */
export function longestFreeze(windows: readonly FreezeWindow[], now: Date): WaitingFor | null {
  const holding = windows
    .flatMap((window) => {
      const until = frozenUntil(window, now);
      return until === null ? [] : [{ window, until }];
    })
    .sort((a, b) => b.until.getTime() - a.until.getTime());
  const [first] = holding;
  if (first === undefined) return null;
  const { environment, name, reason } = first.window;
  const until = first.until.toISOString();
  return { kind: 'freeze', environment, freeze_window: name, until, reason };
}
