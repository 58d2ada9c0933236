import { z } from 'zod';

/** How local changes on a server meet the incoming commit. Source: API.md "Gitdeploys", the seed's options object. */
export const GitdeployOptions = z.object({
  /** Which side wins where the same lines were changed: `ours` is the server, `theirs` the build. */
  favor: z.enum(['ours', 'theirs']),
  'ignore-whitespace': z.boolean(),
  /** Lines as in a .gitignore file, kept in `.git/info/exclude` on the server. */
  gitignore: z.array(z.string()),
});
export type GitdeployOptions = z.infer<typeof GitdeployOptions>;

/** Salt state forms by state id, in order, exactly as the operator wrote them. */
export const GitdeployActions = z.object({
  prepull: z.record(z.string(), z.unknown()),
  postpull: z.record(z.string(), z.unknown()),
});
export type GitdeployActions = z.infer<typeof GitdeployActions>;
