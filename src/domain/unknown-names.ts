import { sortedUnique } from './code-unit-order.ts';
import { AppError } from './errors.ts';
import { nearestName } from './nearest.ts';
import { quoted, shortList } from './quoted.ts';

/** Nearness costs (given × known); with more unknown names than this a list was mistaken, not a letter. */
const MAX_SUGGESTIONS = 10;

export interface AskedNames {
  readonly asked: readonly string[];
  /** May hold a name many times. */
  readonly known: Iterable<string>;
}

/**
 * Refuses names that nothing has, all at once.
 * @param lists what was asked for and what there is, by plural noun (`servers`)
 * @throws {AppError} `invalid_input`; `details.unknown` is noun → names, `details.nearest` noun → name → what was
 *   probably meant, for the first ten of a noun and only where something is near
 */
export function requireKnown(lists: Readonly<Record<string, AskedNames>>): void {
  const phrases: string[] = [];
  const unknown: Record<string, readonly string[]> = {};
  const nearest: Record<string, Readonly<Record<string, string>>> = {};
  for (const [noun, { asked, known }] of Object.entries(lists)) {
    const names = new Set(known);
    const strangers = sortedUnique(asked).filter((name) => !names.has(name));
    if (strangers.length === 0) continue;
    const meant = new Map<string, string>();
    for (const stranger of strangers.slice(0, MAX_SUGGESTIONS)) {
      const near = nearestName(stranger, names);
      if (near !== null) meant.set(stranger, near);
    }
    unknown[noun] = strangers;
    nearest[noun] = Object.fromEntries(meant);
    phrases.push(`${noun} ${shortList(strangers.map((name) => suggest(name, meant.get(name))))}`);
  }
  if (phrases.length === 0) return;
  throw new AppError(
    'invalid_input',
    `There are no ${phrases.join(', nor ')}; correct the names or create what is missing.`,
    { details: { unknown, nearest } },
  );
}

function suggest(name: string, near: string | undefined): string {
  return near === undefined ? quoted(name) : `${quoted(name)} (did you mean \`${near}\`?)`;
}
