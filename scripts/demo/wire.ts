import { z } from 'zod';

// What the demo reads of Muster's answers. Muster may say more: that is left alone.

const error = z.object({ code: z.string(), message: z.string() }).nullish();

const step = z.object({
  server: z.string(),
  gitdeploy: z.string(),
  status: z.string(),
  error,
});

const batch = z.object({
  index: z.number(),
  slice: z.number(),
  level: z.number(),
  status: z.string(),
  started_at: z.string().nullable(),
  finished_at: z.string().nullable(),
  steps: z.array(step),
});

export const deploymentAnswer = z.object({
  id: z.string(),
  status: z.string(),
  error,
  batches: z.array(batch),
});
export type Deployment = z.infer<typeof deploymentAnswer>;
export type Batch = z.infer<typeof batch>;

export const keypairAnswer = z.object({ public_key: z.string(), fingerprint: z.string() });

export const buildAnswer = z.object({
  state: z.string(),
  packages: z.record(z.string(), z.object({ files: z.number(), bytes: z.number() })),
});

export const planAnswer = z.object({
  batches: z.array(z.unknown()),
  /** By gitdeploy, how many files. */
  changes: z.record(
    z.string(),
    z.object({ added: z.number(), modified: z.number(), deleted: z.number() }),
  ),
});

/** environment → group → server → gitdeploy → builds. */
const census = z.record(
  z.string(),
  z.record(
    z.string(),
    z.record(
      z.string(),
      z.record(
        z.string(),
        z.object({ committed: z.string().nullable(), deployed: z.string().nullable() }),
      ),
    ),
  ),
);
export type Census = z.infer<typeof census>;
export const applicationAnswer = z.object({ census });

export const groupAnswer = z.object({ servers: z.array(z.string()) });

/** For requests whose answer the demo does not need. */
export const anyAnswer = z.unknown();
