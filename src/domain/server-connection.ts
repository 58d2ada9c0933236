import { z } from 'zod';

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
