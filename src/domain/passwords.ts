import { randomBytes, scrypt, timingSafeEqual } from 'node:crypto';

/** A password must have at least this many characters. */
export const MIN_PASSWORD_LENGTH = 8;
/** More characters than any pass phrase has. */
export const MAX_PASSWORD_LENGTH = 1024;

/** How hard a hash is to make. Each is stored with its hash, so that these can grow without ending old passwords. */
interface Cost {
  /** Binary logarithm of scrypt's N. */
  readonly ln: number;
  /** Block size. Memory is 128 · 2^ln · r bytes. */
  readonly r: number;
  readonly p: number;
}

/** 32 MiB and some 200 ms of one core. Source: OWASP Password Storage Cheat Sheet, scrypt. */
const COST: Cost = { ln: 15, r: 8, p: 3 };
const SALT_BYTES = 16;
const KEY_BYTES = 32;

/** `$scrypt$ln=15,r=8,p=3$<salt>$<key>`, both in base64 without padding: the form of the PHC string format. */
const HASH = /^\$scrypt\$ln=(\d{1,2}),r=(\d{1,3}),p=(\d{1,3})\$([\w+/]+)\$([\w+/]+)$/;

/**
 * Hashes a password for storage, off the event loop.
 * @returns the hash with its salt and cost, in the PHC string format
 */
export async function hashPassword(password: string): Promise<string> {
  const salt = randomBytes(SALT_BYTES);
  const key = await deriveKey(password, { salt, cost: COST, keyBytes: KEY_BYTES });
  return `$scrypt$ln=${COST.ln},r=${COST.r},p=${COST.p}$${toBase64(salt)}$${toBase64(key)}`;
}

/**
 * Whether a password is the one that was hashed. Takes as long without a hash as with one, so that nobody
 * learns from the time whether there is such a user.
 * @param hash as `hashPassword` gave it; null for whoever has no password, which no password matches
 */
export async function verifyPassword(password: string, hash: string | null): Promise<boolean> {
  const expected = parseHash(hash ?? NOBODYS_HASH);
  const key = await deriveKey(password, { ...expected, keyBytes: expected.key.length });
  return timingSafeEqual(key, expected.key) && hash !== null;
}

const NOBODYS_HASH = `$scrypt$ln=${COST.ln},r=${COST.r},p=${COST.p}$${'A'.repeat(22)}$${'A'.repeat(43)}`;

function parseHash(hash: string): { cost: Cost; salt: Buffer; key: Buffer } {
  const [, ln, r, p, salt = '', key = ''] = HASH.exec(hash) ?? [];
  if (ln === undefined) throw new Error('a stored password hash is not of a known form');
  return {
    cost: { ln: Number(ln), r: Number(r), p: Number(p) },
    salt: Buffer.from(salt, 'base64'),
    key: Buffer.from(key, 'base64'),
  };
}

function deriveKey(
  password: string,
  { salt, cost, keyBytes }: { salt: Buffer; cost: Cost; keyBytes: number },
): Promise<Buffer> {
  const { ln, r, p } = cost;
  const N = 2 ** ln;
  // The same letters can be typed as different code points; which, depends on the keyboard.
  const text = password.normalize('NFKC');
  return new Promise((resolve, reject) => {
    scrypt(text, salt, keyBytes, { N, r, p, maxmem: 256 * N * r }, (error, key) =>
      error === null ? resolve(key) : reject(error),
    );
  });
}

function toBase64(bytes: Buffer): string {
  return bytes.toString('base64').replaceAll('=', '');
}
