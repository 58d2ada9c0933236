import { createHash } from 'node:crypto';
import ssh2 from 'ssh2';
import { AppError } from '../domain/errors.ts';

/** An SSH keypair in OpenSSH's formats. */
export interface Keypair {
  readonly privateKey: string;
  /** `type base64`, without a comment. */
  readonly publicKey: string;
  /** `SHA256:…` as ssh-keygen -l prints it. */
  readonly fingerprint: string;
}

/**
 * Makes a new ed25519 keypair. About one in 256 that ssh2 1.17 writes is malformed, so that neither it nor OpenSSH
 * reads it: such a one is thrown away and another made.
 */
export function generateKeypair(): Keypair {
  for (;;) {
    const { private: privateKey } = ssh2.utils.generateKeyPairSync('ed25519');
    if (!(ssh2.utils.parseKey(privateKey) instanceof Error)) return readKeypair({ privateKey });
  }
}

/**
 * Checks a private key, and that a public key belongs to it.
 * @throws {AppError} `invalid_input`
 */
export function readKeypair(input: {
  privateKey: string;
  publicKey?: string | undefined;
}): Keypair {
  // The seed's examples write the newlines of a PEM file as backslash-n.
  const privateKey = normalizeNewlines(input.privateKey);
  const parsed = ssh2.utils.parseKey(privateKey);
  if (parsed instanceof Error || !parsed.isPrivateKey()) {
    throw new AppError(
      'invalid_input',
      'private_key is not a private key that Muster can read. Give an OpenSSH or PEM key without a passphrase.',
    );
  }
  const blob = parsed.getPublicSSH();
  const publicKey = `${parsed.type} ${blob.toString('base64')}`;
  if (input.publicKey !== undefined && keyPart(input.publicKey) !== keyPart(publicKey)) {
    throw new AppError(
      'invalid_input',
      'public_key does not belong to private_key. Give the two halves of one keypair.',
    );
  }
  return { privateKey, publicKey, fingerprint: fingerprintOf(blob) };
}

/**
 * Checks a host key as an operator pastes it from `ssh-keyscan` or a `.pub` file; a comment is dropped.
 * @returns `type base64`
 * @throws {AppError} `invalid_input`
 */
export function readHostKey(text: string): string {
  const parsed = ssh2.utils.parseKey(text.trim());
  if (parsed instanceof Error || parsed.isPrivateKey()) {
    throw new AppError(
      'invalid_input',
      'host_key is not a public host key. Give it as `ssh-ed25519 AAAA…`, as in /etc/ssh/ssh_host_ed25519_key.pub on the server.',
    );
  }
  return `${parsed.type} ${parsed.getPublicSSH().toString('base64')}`;
}

function fingerprintOf(blob: Buffer): string {
  return `SHA256:${createHash('sha256').update(blob).digest('base64').replace(/=+$/, '')}`;
}

function normalizeNewlines(key: string): string {
  const text = key.includes('\n') ? key : key.replaceAll('\\n', '\n');
  return `${text.replaceAll('\r\n', '\n').trim()}\n`;
}

function keyPart(publicKey: string): string {
  const [type = '', base64 = ''] = publicKey.trim().split(/\s+/);
  return `${type} ${base64}`;
}
