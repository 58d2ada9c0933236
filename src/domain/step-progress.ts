import { z } from 'zod';

/**
 * How far a step has got on its server, for whoever takes it up where another worker lost it. It is stored together
 * with what the step has told, so that a crash neither repeats nor drops a line.
 */
export const StepProgress = z.object({
  /** Tells one doing of the step from the next, that a user's retry begins; the names of its runs have it. */
  run: z.number().int(),
  /** What was done, or begun, last. From `postpull` on the clone is switched. */
  stage: z.enum(['prepull', 'postpull']),
  /** The index of the first state of this stage that has not come to its end. */
  state: z.number().int(),
  /** How many bytes of that state's output have been told. */
  offset: z.number().int(),
  /** What the switch answered, for taking it back; null if there is nothing to take back. */
  switched: z
    .looseObject({
      from: z.string(),
      head: z.string(),
      localCommit: z.string().nullable(),
      /** Only of an atomic switch: the release before, and how many there are. */
      release: z
        .looseObject({ previous: z.string().nullable(), count: z.number().int() })
        .optional(),
    })
    .nullable(),
  /** What the installation's row said before the step changed it. */
  before: z.object({
    deployedBuildId: z.string().nullable(),
    deployedCommit: z.string(),
    headCommit: z.string(),
    deployedAt: z.iso.datetime().nullable(),
    deploymentId: z.string().nullable(),
    drift: z.enum(['none', 'modified', 'moved', 'unreachable', 'unknown']),
    missedBuildId: z.string().nullable().default(null),
    missedDeploymentId: z.string().nullable().default(null),
    missedAt: z.iso.datetime().nullable().default(null),
  }),
});
export type StepProgress = z.infer<typeof StepProgress>;

/** What came before the switch of a step, and what may have to be taken back. */
export type SwitchedClone = NonNullable<StepProgress['switched']>;
