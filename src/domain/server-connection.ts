import { z } from 'zod';

/** How a server is reached, as it is stored: no secrets, the keypair stands beside it by id. */
export const ServerConnection = z.discriminatedUnion('kind', [
  z.object({
    kind: z.literal('ssh'),
    host: z.string(),
    port: z.number().int(),
    user: z.string(),
  }),
  z.object({ kind: z.literal('local'), root: z.string() }),
]);
export type ServerConnection = z.infer<typeof ServerConnection>;
