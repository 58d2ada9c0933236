import { createHash } from 'node:crypto';
import { AppError } from '../domain/errors.ts';

/** What may be negotiated, best first. SHA-1 signatures (`ssh-rsa`) are left out on purpose. */
const HOST_KEY_ALGORITHMS = [
  'ssh-ed25519',
  'ecdsa-sha2-nistp256',
  'ecdsa-sha2-nistp384',
  'ecdsa-sha2-nistp521',
  'rsa-sha2-512',
  'rsa-sha2-256',
] as const;

/** The algorithms to offer a server. */
export type HostKeyAlgorithm = (typeof HOST_KEY_ALGORITHMS)[number];

/**
 * The order in which to ask for host keys: the pinned one's kind first, as a server with several shows only one.
 * The others follow, so that a server that has lost that key is found out as changed and not as unreachable.
 */
export function preferHostKey(pinned: string | null): HostKeyAlgorithm[] {
  const type = pinned?.split(' ', 1)[0] ?? '';
  const isPinnedKind = (algorithm: string): boolean =>
    algorithm === type || (type === 'ssh-rsa' && algorithm.startsWith('rsa-'));
  return [
    ...HOST_KEY_ALGORITHMS.filter(isPinnedKind),
    ...HOST_KEY_ALGORITHMS.filter((algorithm) => !isPinnedKind(algorithm)),
  ];
}

/** A key as it comes over the wire (RFC 4253, section 6.6) as `type base64`. */
export function formatHostKey(blob: Buffer): string {
  const typeLength = blob.length < 4 ? 0 : blob.readUInt32BE(0);
  return `${blob.toString('latin1', 4, 4 + typeLength)} ${blob.toString('base64')}`;
}

/** Whether two public keys are the same, whatever comments follow them. */
export function isSameHostKey(a: string, b: string): boolean {
  return a.trim().split(/\s+/)[1] === b.trim().split(/\s+/)[1];
}

/** `SHA256:…` of a public key, as ssh-keygen -l prints it. */
export function fingerprintOf(publicKey: string): string {
  const blob = Buffer.from(publicKey.trim().split(/\s+/)[1] ?? '', 'base64');
  return `SHA256:${createHash('sha256').update(blob).digest('base64').replace(/=+$/, '')}`;
}

/** The error for a server that shows another key than it was pinned with. */
export function hostKeyChanged(server: string, pinned: string, shown: string): AppError {
  const expected = fingerprintOf(pinned);
  const actual = fingerprintOf(shown);
  return new AppError(
    'host_key_changed',
    `Server ${server} shows the host key ${actual} but ${expected} is pinned, so nothing was sent to it. ` +
      `If the server was reinstalled, pin its new key: PATCH /server/${server} {"host_key":"${shown}"}. If not, find out who answers there.`,
    { details: { server, expected, actual, expected_key: pinned, actual_key: shown } },
  );
}
