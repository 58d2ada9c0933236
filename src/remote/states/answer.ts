import { z } from 'zod';

/** How a state ended: `changed` and `unchanged` are successes. The script's output goes before it. */
export const stateAnswerSchema = z.object({
  ok: z.literal(true),
  state: z.enum(['changed', 'unchanged', 'failed']),
  /** Null if the command was not run. */
  exitCode: z.number().int().nullable(),
  timedOut: z.boolean(),
});

/** The answer of a state's script. */
export type StateAnswer = z.infer<typeof stateAnswerSchema>;
