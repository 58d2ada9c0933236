/**
 * Calls `work` for every item, at most `limit` at once, and waits for all that was begun. What `work` throws is for
 * what concerns all items: no further one is begun then.
 * @throws the first error, once nothing is under way any more
 */
export async function eachLimited<T>(
  items: Iterable<T>,
  limit: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const queue = items[Symbol.iterator]();
  let broken: { readonly error: unknown } | null = null;
  const lane = async (): Promise<void> => {
    for (let next = queue.next(); next.done !== true; next = queue.next()) {
      if (broken !== null) return;
      try {
        await work(next.value);
      } catch (error) {
        broken ??= { error };
      }
    }
  };
  await Promise.all(Array.from({ length: limit }, lane));
  throwIf(broken);
}

function throwIf(broken: { readonly error: unknown } | null): void {
  if (broken !== null) throw broken.error;
}
