import { z } from 'zod';

/** What a deployment waits for, as it is stored with it and shown. */
export const WaitingFor = z.discriminatedUnion('kind', [
  /** Another one works on what this one is to change, or was asked for before it. */
  z.object({ kind: z.literal('deployment'), deployment_id: z.string() }),
  /** The plan has a pause after a batch. */
  z.object({ kind: z.literal('pause'), after_batch: z.number().int(), until: z.string() }),
  /** A user is to say yes to what comes after a batch. */
  z.object({ kind: z.literal('approval'), after_batch: z.number().int() }),
  /** Nothing is deployed to an environment at this time. */
  z.object({
    kind: z.literal('freeze'),
    environment: z.string(),
    freeze_window: z.string(),
    until: z.string(),
    reason: z.string().nullable(),
  }),
]);
export type WaitingFor = z.infer<typeof WaitingFor>;
