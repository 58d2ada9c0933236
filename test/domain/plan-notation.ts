import type { Batch } from '../../src/domain/batches.ts';

/**
 * A plan in the notation of API.md's table: `{s0,s1}ab ordered · {s2}c`. Servers of a batch that get the same
 * gitdeploys stand together.
 */
export function writePlan(batches: readonly Batch[]): string {
  return batches.map(writeBatch).join(' · ');
}

function writeBatch(batch: Batch): string {
  const gitdeploysOf = new Map<string, string>();
  for (const { server, gitdeploy } of batch.pairs) {
    gitdeploysOf.set(server, (gitdeploysOf.get(server) ?? '') + gitdeploy);
  }
  const serversOf = new Map<string, string[]>();
  for (const [server, gitdeploys] of gitdeploysOf) {
    serversOf.set(gitdeploys, [...(serversOf.get(gitdeploys) ?? []), server]);
  }
  const sets = [...serversOf].map(([gitdeploys, servers]) => `{${servers.join(',')}}${gitdeploys}`);
  return `${sets.join('')}${batch.ordered ? ' ordered' : ''}`;
}
