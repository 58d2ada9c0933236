import type { DepotGuard } from '../../src/depot/guard.ts';

const NEVER_ABORTED = new AbortController().signal;

/** For a depot that nobody else has open: lets everybody do everything at once. */
export const UNGUARDED: DepotGuard = {
  whileWriting: ({ signal = NEVER_ABORTED }, work) => work(signal),
  whileQuiet: (_request, work) => work(() => Promise.resolve(true)),
};
