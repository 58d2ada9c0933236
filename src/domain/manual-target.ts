import { sortedUnique } from './code-unit-order.ts';
import type { DeploymentSnapshot } from './deployment-snapshot.ts';
import { AppError } from './errors.ts';
import { quotedList, shortList } from './quoted.ts';
import { requireKnown } from './unknown-names.ts';

/** Every gitdeploy goes to every server. */
export interface ManualTarget {
  readonly style: 'manual';
  /** Sorted, never empty. */
  readonly servers: readonly string[];
  /** Sorted, never empty. */
  readonly gitdeploys: readonly string[];
  /** Always empty: what a manual deployment names is deployed, or refused. */
  readonly warnings: readonly never[];
}

/**
 * The named servers and gitdeploys, if every gitdeploy is initialized on every server.
 * @throws {AppError} `invalid_input` for unknown names; `not_initialized`, with `details.missing`, gitdeploy → servers
 */
export function resolveManualTarget(
  asked: { readonly servers: readonly string[]; readonly gitdeploys: readonly string[] },
  snapshot: DeploymentSnapshot,
): ManualTarget {
  requireKnown({
    servers: { asked: asked.servers, known: snapshot.servers.map(({ name }) => name) },
    gitdeploys: { asked: asked.gitdeploys, known: snapshot.gitdeploys.map(({ name }) => name) },
  });
  const servers = sortedUnique(asked.servers);
  const gitdeploys = sortedUnique(asked.gitdeploys);
  const serversOf = new Map(gitdeploys.map((gitdeploy) => [gitdeploy, new Set<string>()]));
  for (const { server, gitdeploy } of snapshot.installations) serversOf.get(gitdeploy)?.add(server);
  const missing = [...serversOf]
    .map(([gitdeploy, having]) => ({
      gitdeploy,
      lacking: servers.filter((server) => !having.has(server)),
    }))
    .filter(({ lacking }) => lacking.length > 0);
  if (missing.length > 0) {
    const phrases = missing.map(
      ({ gitdeploy, lacking }) => `\`${gitdeploy}\` on ${quotedList(lacking)}`,
    );
    throw new AppError(
      'not_initialized',
      `Not initialized yet: ${shortList(phrases)}; initialize the gitdeploys there first, or leave them out.`,
      {
        details: {
          missing: Object.fromEntries(missing.map((each) => [each.gitdeploy, each.lacking])),
        },
      },
    );
  }
  return { style: 'manual', servers, gitdeploys, warnings: [] };
}
