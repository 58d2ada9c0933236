/** Which depot, and when to stop waiting for it. */
export interface GuardRequest {
  readonly applicationId: string;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Keeps those who write into an application's depot and the one who deletes from it apart, in all processes that share
 * the folder. An object that is written, or that is found to be there already, is nobody's until a ref names it: whoever
 * lets go of what no ref names must not come in between.
 */
export interface DepotGuard {
  /**
   * Runs `work` while nothing is deleted, beside others who write; waits until that is so. What waits inside for
   * another `whileWriting` of the same depot gets it at once.
   * @param work is given a signal that is aborted, too, when the hold was lost: then nothing may be named any more
   */
  whileWriting<T>(o: GuardRequest, work: (signal: AbortSignal) => Promise<T>): Promise<T>;
  /**
   * Runs `work` while nobody writes, or not at all if that does not come to pass in a while.
   * @param work must ask `isStillQuiet` before each deletion, and delete no more once it is not
   */
  whileQuiet(
    o: GuardRequest,
    work: (isStillQuiet: () => Promise<boolean>) => Promise<void>,
  ): Promise<void>;
}
