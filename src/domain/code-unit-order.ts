/**
 * The one order in which Muster sorts names: by UTF-16 code units, as `<` compares strings. It is the same on
 * every machine, whatever its locale, so two processes that plan one deployment get one plan.
 */
export function compareCodeUnits(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

/** Each distinct name once, in code-unit order. Does not change its input. */
export function sortedUnique(names: Iterable<string>): string[] {
  // Without a comparator `sort` compares strings by code units, several times faster than with one.
  return [...new Set(names)].sort();
}
