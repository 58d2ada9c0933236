const MAX_QUOTED_CHARACTERS = 160;
const MAX_LISTED = 5;

/** A value as error messages show it: in backticks, on one line, and cut short if a hostile caller made it long. */
export function quoted(value: string): string {
  return value === '' ? 'an empty string' : `\`${shortened(value)}\``;
}

/** The same without the backticks, for `details`. */
export function shortened(value: string): string {
  const printable = value.slice(0, MAX_QUOTED_CHARACTERS).replaceAll(/\p{Cc}/gu, '\u{fffd}');
  return value.length <= MAX_QUOTED_CHARACTERS ? printable : `${printable}…`;
}

/** The first few values for one sentence: `` `a`, `b` and 7 more ``. The whole list belongs into `details`. */
export function quotedList(values: readonly string[]): string {
  return shortList(values.map(quoted));
}

/** As `quotedList`, for phrases that are quoted already. */
export function shortList(phrases: readonly string[]): string {
  if (phrases.length > MAX_LISTED) {
    return `${phrases.slice(0, MAX_LISTED).join(', ')} and ${phrases.length - MAX_LISTED} more`;
  }
  const last = phrases.at(-1) ?? '';
  return phrases.length < 2 ? last : `${phrases.slice(0, -1).join(', ')} and ${last}`;
}
