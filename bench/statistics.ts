/** The middle of the values; between the two middle ones if their number is even. @throws if there are none */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const place = (sorted.length - 1) / 2;
  const low = sorted[Math.floor(place)];
  const high = sorted[Math.ceil(place)];
  if (low === undefined || high === undefined) throw new Error('There is nothing to measure by.');
  return (low + high) / 2;
}

/**
 * The median of the ratios of values that were measured side by side, the first of one with the first of the other and
 * so on: what slows the machine down for a while slows both.
 */
export function medianRatio(ours: readonly number[], theirs: readonly number[]): number {
  return median(
    ours.flatMap((value, i) => value / (theirs[i] ?? Number.NaN)).filter(Number.isFinite),
  );
}

/** `1.234 (1.100 – 1.400)`: median, least and greatest. */
export function summary(values: readonly number[], digits = 2): string {
  if (values.length === 0) return '—';
  const [least, middle, greatest] = [Math.min(...values), median(values), Math.max(...values)];
  if (values.length === 1) return middle.toFixed(digits);
  return `${middle.toFixed(digits)} (${least.toFixed(digits)} – ${greatest.toFixed(digits)})`;
}
