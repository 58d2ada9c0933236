import { createHash } from 'node:crypto';

/**
 * The id of a gitdeploy on a server: a UUID (version 8) made of both ids, so that initializing again after a
 * worker died finds its own clone on the server and not a stranger's.
 */
export function installationId(gitdeployId: string, serverId: string): string {
  const hash = createHash('sha256').update(`${gitdeployId}:${serverId}`).digest();
  hash[6] = ((hash[6] ?? 0) & 0x0f) | 0x80;
  hash[8] = ((hash[8] ?? 0) & 0x3f) | 0x80;
  const hex = hash.toString('hex');
  return [
    hex.slice(0, 8),
    hex.slice(8, 12),
    hex.slice(12, 16),
    hex.slice(16, 20),
    hex.slice(20, 32),
  ].join('-');
}
