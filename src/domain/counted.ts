/**
 * A number and what it counts, for messages: `1 file`, `3 files`.
 * @param many where it is not `one` with an `s`
 */
export function counted(count: number | bigint, one: string, many: string = `${one}s`): string {
  return `${count} ${Number(count) === 1 ? one : many}`;
}
