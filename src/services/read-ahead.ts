/**
 * Gives what `source` gives, one thing ahead: it works on the next one while the one before is made use of. That fails
 * or ends when its turn comes, and is let go with the rest when nobody takes more.
 */
export async function* readAhead<T>(source: AsyncGenerator<T>): AsyncGenerator<T> {
  try {
    for (let next = source.next(); ; ) {
      const { value, done } = await next;
      if (done === true) return;
      next = source.next();
      // Whoever waits for it hears of it; nobody may.
      next.catch(() => {});
      yield value;
    }
  } finally {
    // A source that is at work comes to its end first.
    await source.return(undefined);
  }
}
