/** A moment as the wire has it: ISO 8601 in UTC, with milliseconds and `Z`. */
export function toTime(date: Date): string {
  return date.toISOString();
}

export function toTimeOrNull(date: Date | null): string | null {
  return date === null ? null : date.toISOString();
}
