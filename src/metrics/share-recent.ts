/**
 * Makes something that is dear to ask be asked once for all who want it at about the same time: whoever comes while it
 * is asked, or up to `recentMs` after, gets the same answer. However long it takes, nobody waits beyond `timeoutMs`,
 * and it is not asked a second time while it hangs.
 */
export function shareRecent<T>(
  ask: () => Promise<T>,
  { recentMs, timeoutMs }: { readonly recentMs: number; readonly timeoutMs: number },
): () => Promise<T> {
  let answer: Promise<T> | null = null;
  return async () => {
    if (answer === null) {
      const asked = ask();
      answer = asked;
      const forgetLater = (): void => {
        setTimeout(() => {
          answer = null;
        }, recentMs).unref();
      };
      asked.then(forgetLater, forgetLater);
    }
    return await withTimeout(answer, timeoutMs);
  };
}

async function withTimeout<T>(promise: Promise<T>, timeoutMs: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs);
  });
  try {
    return await Promise.race([promise, timeout]);
  } finally {
    clearTimeout(timer);
  }
}
