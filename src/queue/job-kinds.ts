import { z } from 'zod';

/**
 * Every kind of job and what its row must hold. One table: the type checker refuses a worker that has no
 * handler for one of them, and services can start only what stands here. Ids only, never secrets.
 */
export const JOB_KINDS = {
  store_build: z.object({
    buildId: z.uuid(),
    /** File in the uploads folder of the data directory. */
    upload: z.string(),
    packageMapId: z.uuid().nullable(),
  }),
  fetch_build: z.object({
    buildId: z.uuid(),
    /** The URL as it may be shown: without user, password and query. */
    source: z.string(),
    /** The whole URL, sealed, in base64. */
    sealedUrl: z.string(),
    verifyTls: z.boolean(),
    /** Lower-case hexadecimal. */
    sha256: z.string().nullable(),
    packageMapId: z.uuid().nullable(),
  }),
  maintain_depot: z.object({ applicationId: z.uuid() }),
  create_gitrepo: z.object({ gitrepoId: z.uuid() }),
  initialize_gitdeploy: z.object({ gitdeployId: z.uuid(), serverIds: z.array(z.uuid()) }),
  deinitialize_gitdeploy: z.object({ gitdeployId: z.uuid(), serverIds: z.array(z.uuid()) }),
  check_server: z.object({ serverId: z.uuid() }),
  preflight: z.object({
    buildId: z.uuid(),
    /** Servers looked at at once. */
    concurrency: z.number().int(),
    targets: z.array(z.object({ gitdeployId: z.uuid(), serverIds: z.array(z.uuid()) })),
  }),
  run_deployment: z.object({ deploymentId: z.uuid() }),
  /** Of a worker that runs steps of a deployment which another one runs; `jobId` is that one's job. */
  join_deployment: z.object({ deploymentId: z.uuid(), jobId: z.uuid() }),
} as const;

export type JobKind = keyof typeof JOB_KINDS;
export type JobData<K extends JobKind> = z.infer<(typeof JOB_KINDS)[K]>;
