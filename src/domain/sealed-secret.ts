import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { AppError } from './errors.ts';

const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/**
 * Encrypts a secret for storage: AES-256-GCM with a fresh nonce.
 * @param key 32 bytes
 * @returns nonce (12 bytes), tag (16 bytes), ciphertext
 */
export function sealSecret(secret: string, key: Uint8Array): Uint8Array<ArrayBuffer> {
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv('aes-256-gcm', key, nonce);
  const ciphertext = Buffer.concat([cipher.update(secret, 'utf8'), cipher.final()]);
  return new Uint8Array(Buffer.concat([nonce, cipher.getAuthTag(), ciphertext]));
}

/**
 * Decrypts what `sealSecret` made.
 * @throws {AppError} `internal` if the key is another one or the bytes were changed
 */
export function openSecret(sealed: Uint8Array, key: Uint8Array): string {
  try {
    const decipher = createDecipheriv('aes-256-gcm', key, sealed.subarray(0, NONCE_BYTES));
    decipher.setAuthTag(sealed.subarray(NONCE_BYTES, NONCE_BYTES + TAG_BYTES));
    const plain = decipher.update(sealed.subarray(NONCE_BYTES + TAG_BYTES));
    return Buffer.concat([plain, decipher.final()]).toString('utf8');
  } catch (cause) {
    throw new AppError(
      'internal',
      'A stored secret cannot be decrypted: MUSTER_SECRET_KEY (or the file secret-key in the data directory) is not the one it was stored with.',
      { cause },
    );
  }
}
