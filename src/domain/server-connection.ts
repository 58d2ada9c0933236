import { z } from 'zod';
import { AppError } from './errors.ts';
import { quoted, shortened } from './quoted.ts';

/** How a server is reached, as it is stored: no secrets; keypair and jump host stand beside it by id. */
export const ServerConnection = z.discriminatedUnion('kind', [
  z.object({
    kind: z.literal('ssh'),
    host: z.string(),
    port: z.number().int(),
    user: z.string(),
    /** Whether actions run as root, by sudo, where the user is not root. */
    become: z.boolean().default(false),
  }),
  z.object({ kind: z.literal('local'), root: z.string() }),
]);
export type ServerConnection = z.infer<typeof ServerConnection>;

/** How many jump hosts may stand between Muster and a server. */
export const MAX_JUMPS = 3;

const MAX_HOST_CHARACTERS = 253;
/** Underscores are no part of a host name by RFC 1123, and stand in names that resolve all the same. */
const HOST_LABEL = /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/i;
const ADDRESS = z.union([z.ipv4(), z.ipv6()]);
/** Of an IPv6 address that is local to a link: the interface behind it. */
const ZONE = /(?<=:[^%]*)%[a-z0-9_.-]+$/i;
const LOGIN = /^[A-Za-z0-9_][A-Za-z0-9_.@\\+-]*\$?$/;
const MAX_LOGIN_CHARACTERS = 256;

/**
 * Checks where a server listens: a host name (with or without the dot at its end), an IPv4 or an IPv6 address.
 * @throws {AppError} `invalid_input`
 */
export function parseHost(value: string): string {
  const labels = value.replace(/\.$/, '').split('.');
  const isName =
    value.length <= MAX_HOST_CHARACTERS && labels.every((label) => HOST_LABEL.test(label));
  // Digits alone at the end make it an address, and then it has to be a whole one.
  const isAddressLike = /^[0-9]+$/.test(labels.at(-1) ?? '');
  const isAddress = ADDRESS.safeParse(value.replace(ZONE, '')).success;
  if (isAddress || (isName && !isAddressLike)) return value;
  throw new AppError(
    'invalid_input',
    `\`connection.host\` ${quoted(value)} is neither a host name nor an address; give one such as \`web01.example.com\`, \`192.0.2.7\` or \`2001:db8::7\`, and the port as \`port\`.`,
    { details: { parameter: 'connection.host', value: shortened(value) } },
  );
}

/**
 * Checks the name of an account on a server.
 * @throws {AppError} `invalid_input`
 */
export function parseLogin(value: string): string {
  if (value.length <= MAX_LOGIN_CHARACTERS && LOGIN.test(value)) return value;
  throw new AppError(
    'invalid_input',
    `\`connection.user\` ${quoted(value)} cannot be the name of an account: it begins with a letter, a digit or \`_\`, goes on with these, \`.\`, \`-\`, \`+\`, \`@\` and \`\\\`, and may end with \`$\`.`,
    { details: { parameter: 'connection.user', value: shortened(value) } },
  );
}
