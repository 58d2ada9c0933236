/** Repeatable chance: the same seed and input number always give the same numbers. */
export interface Random {
  /** A whole number from 0 to `below - 1`. */
  next(below: number): number;
  pick<T>(items: readonly T[]): T;
}

/** Source: Marsaglia, "Xorshift RNGs", with the numbers of a splitmix to spread neighboring seeds. */
export function openRandom(seed: number, input: number): Random {
  let state = Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b) ^ Math.imul(input + 1, 0xc2b2ae35);
  if (state === 0) state = 1;
  const next = (below: number): number => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
  for (let round = 0; round < 8; round += 1) next(2);
  return {
    next,
    pick(items) {
      const item = items[next(items.length)];
      if (item === undefined) throw new Error('nothing to pick from');
      return item;
    },
  };
}
