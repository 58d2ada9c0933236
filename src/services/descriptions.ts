import type { GitdeployRow } from '../store/gitdeploys.ts';
import type { GitproviderRow } from '../store/gitproviders.ts';
import type { GitrepoRow } from '../store/gitrepos.ts';
import type { KeypairRow } from '../store/keypairs.ts';
import type { ServerRow } from '../store/servers.ts';

/** A gitrepo as the audit shows it. */
export function describeGitrepo(gitrepo: GitrepoRow): Record<string, unknown> {
  const { name, existing, uri, gitprovider, keypair } = gitrepo;
  return {
    name,
    existing,
    uri,
    gitprovider: gitprovider?.name ?? null,
    keypair: keypair?.name ?? null,
  };
}

/** A gitdeploy as the audit shows it. */
export function describeGitdeploy(gitdeploy: GitdeployRow): Record<string, unknown> {
  const { name, packageName, path, gitrepo, branch, attributes, options, actions } = gitdeploy;
  const { switchMode, keepReleases, healthChecks } = gitdeploy;
  const location = {
    path,
    gitrepo: gitrepo.name,
    default_branch: branch,
    ...(switchMode === 'atomic' ? { switch: switchMode, keep_releases: keepReleases } : {}),
  };
  const looks = healthChecks.length > 0 ? { health_checks: healthChecks } : {};
  return { name, package: packageName, location, attributes, options, actions, ...looks };
}

/** A keypair as the audit shows it: named one by one, so that the private half never is among it. */
export function describeKeypair({
  name,
  publicKey,
  fingerprint,
}: Omit<KeypairRow, 'privateKeySealed'>): Record<string, unknown> {
  return { name, public_key: publicKey, fingerprint };
}

/** A git provider as the audit shows it: named one by one, so that no secret is among it. */
export function describeGitprovider({
  name,
  kind,
  url,
}: Omit<GitproviderRow, 'authSealed'>): Record<string, unknown> {
  return { name, type: kind, url };
}

/** A server as the wire and the audit show it, save for its times. */
export function describeServer(server: ServerRow): {
  name: string;
  environment: string;
  connection: ServerDescription;
  datacenter: string | null;
  attributes: unknown;
} {
  const { name, environment, connection, datacenter, attributes } = server;
  return {
    name,
    environment,
    connection:
      connection.kind === 'local'
        ? { kind: 'local', root: connection.root }
        : {
            ...connection,
            keypair: server.keypair?.name ?? null,
            host_key: server.hostKey,
            jump: server.jumpServer?.name ?? null,
          },
    datacenter,
    attributes,
  };
}

/** A connection with names in place of ids. */
export type ServerDescription =
  | { kind: 'local'; root: string }
  | {
      kind: 'ssh';
      host: string;
      port: number;
      user: string;
      keypair: string | null;
      host_key: string | null;
      become: boolean;
      jump: string | null;
    };
