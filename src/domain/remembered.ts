/**
 * A function of text that keeps what it gave for the texts that it was given lately. For what depends on its text alone,
 * and is not changed by whoever gets it.
 * @param limits.max how many texts; beyond, the one that came first is forgotten
 * @param limits.maxLength longer ones are worked out each time. Default: any length
 */
export function remembered<T>(
  limits: { readonly max: number; readonly maxLength?: number },
  make: (text: string) => T,
): (text: string) => T {
  const { max, maxLength = Number.POSITIVE_INFINITY } = limits;
  const made = new Map<string, T>();
  return (text) => {
    const known = made.get(text);
    if (known !== undefined) return known;
    const value = make(text);
    if (text.length > maxLength) return value;
    for (const oldest of made.keys()) {
      if (made.size < max) break;
      made.delete(oldest);
    }
    made.set(text, value);
    return value;
  };
}
