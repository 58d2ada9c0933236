import { compareCodeUnits } from './code-unit-order.ts';

/** Names differ by at most this many edits, however long they are. */
const MAX_EDITS = 3;

/**
 * The known name that was probably meant, for "unknown parameter `x`; did you mean `y`?".
 *
 * Nearness is the number of letters put in, left out, changed or swapped with their neighbour (Damerau and
 * Levenshtein's distance, where no letter is edited twice), letter case aside. A third of the longer name may
 * differ, at least one letter and at most three, but never the whole name. Of equally near names the first by
 * code units is taken.
 *
 * @returns null if nothing known is near
 */
export function nearestName(given: string, known: Iterable<string>): string | null {
  const wanted = given.toLowerCase();
  let best: { readonly name: string; readonly edits: number } | null = null;
  for (const name of known) {
    const candidate = name.toLowerCase();
    const allowed = allowedEdits(Math.max(wanted.length, candidate.length));
    // Also what keeps a hostile, very long name cheap: its distance is never computed.
    if (Math.abs(wanted.length - candidate.length) > allowed) continue;
    const edits = editDistance(wanted, candidate);
    if (edits > allowed || edits >= Math.max(wanted.length, candidate.length)) continue;
    const isBetter =
      best === null ||
      edits < best.edits ||
      (edits === best.edits && compareCodeUnits(name, best.name) < 0);
    if (isBetter) best = { name, edits };
  }
  return best === null ? null : best.name;
}

function allowedEdits(length: number): number {
  return Math.min(MAX_EDITS, Math.max(1, Math.floor(length / 3)));
}

/** Row by row, as only the two rows above are ever looked at. */
function editDistance(a: string, b: string): number {
  let beforeLast: readonly number[] = [];
  let last: readonly number[] = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i += 1) {
    const row = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const changed = a[i - 1] === b[j - 1] ? 0 : 1;
      let edits = Math.min((row[j - 1] ?? 0) + 1, (last[j] ?? 0) + 1, (last[j - 1] ?? 0) + changed);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        edits = Math.min(edits, (beforeLast[j - 2] ?? 0) + 1);
      }
      row.push(edits);
    }
    beforeLast = last;
    last = row;
  }
  return last[b.length] ?? 0;
}
