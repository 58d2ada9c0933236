import type { Bench } from '../bench.ts';
import { openSite, type Site } from '../site.ts';

/** The servers that rows 1, 2, 3 and 5 share. */
export function usualSite(bench: Bench): Promise<Site> {
  return bench.shared('usual site', () =>
    openSite(bench, { name: 'usual', slow: null, withPeers: !bench.options.quick }),
  );
}

/** What is to be said of the contestants below every comparison. */
export function contestantNotes(site: Site, failures: readonly string[]): string[] {
  return [...site.peers.map(({ about }) => about), ...site.missing, ...failures];
}
