import { z } from 'zod';
import { ERROR_CODES } from '../../domain/errors.ts';

const time = (description: string) =>
  z.string().meta({ description: `${description} ISO 8601, UTC.`, format: 'date-time' });

/** A moment that has not come yet is null. */
export const timeOrNull = (description: string) =>
  z
    .string()
    .nullable()
    .meta({
      description: `${description} ISO 8601, UTC; null if it has not come.`,
      format: 'date-time',
    });

/** How a clone stands to what Muster left on a server. */
export const drift = z.enum(['none', 'modified', 'moved', 'unreachable', 'unknown']).meta({
  description:
    'How the clone stands to what was deployed: `modified` has changed files, `moved` is on another commit or branch.',
});

export const createdTime = time('When it was created.');

export const applicationName = z.string().meta({ description: 'The application it belongs to.' });

/** An error as replies and rows hold it. */
export const ErrorBody = z
  .object({
    code: z
      .enum(ERROR_CODES)
      .meta({ description: 'What went wrong, for programs; see docs/errors.md.' }),
    message: z.string().meta({ description: 'What went wrong and what to do, in one sentence.' }),
    details: z
      .record(z.string(), z.unknown())
      .meta({ description: 'Names, limits and files that the error is about.' }),
  })
  .meta({ id: 'Error', description: 'Why something failed.' });

export const ErrorReply = z
  .object({
    status: z.literal('error').meta({ description: 'Always `error`.' }),
    error: ErrorBody,
    request_id: z.string().meta({ description: "Finds the request in Muster's log." }),
  })
  .meta({ id: 'ErrorReply', description: 'The reply to every request that failed.' });

/** An error as rows hold it. */
export const StoredError = ErrorBody.nullable().meta({
  description: 'Why it failed; null if it did not.',
});

export const next = z.string().optional().meta({
  description: 'Ask for this as `after` to get the next page; absent on the last one.',
});

/** The entries of a list: names, or with `details=true` objects. */
export function listing<Item extends z.ZodType>(item: Item) {
  return z
    .union([z.array(z.string()), z.array(item)])
    .meta({ description: 'Names, sorted; with `details=true` objects.' });
}

export const DeletedReply = z
  .object({
    deleted: z.record(z.string(), z.union([z.string(), z.array(z.string())])).meta({
      description:
        'What was deleted: its kind and name, and those of what it was in. With `cascade=true` also lists of what went with it: `servers`, `gitrepos`, `gitdeploys`, `installations` (as `gitdeploy@server`), `memberships` in groups (as `group/gitdeploy`). What is of several applications begins with `application/`. An application says its `installations` in any case. The clones of installations stay on the servers.',
    }),
  })
  .meta({ id: 'Deleted', description: 'Something was deleted.' });
