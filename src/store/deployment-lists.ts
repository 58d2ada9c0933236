import type { Db } from './database.ts';

/** The ids of a page of an application's deployments, newest first, and one more if there is one. */
export function listDeploymentIds(
  db: Db,
  applicationId: string,
  page: { limit: number; after?: string | undefined },
): Promise<{ id: string }[]> {
  return readIds(db, applicationId, { after: page.after ?? null, limit: page.limit + 1 });
}

/** Ids of one page: little at first, so that whoever waits has something soon. */
const FIRST_IDS = 200;
const MORE_IDS = 5000;

/**
 * The ids of all deployments of an application, newest first, after (older than) the one with the id `after`; page by
 * page as they are taken, each page as the rows are then.
 */
export async function* readDeploymentIds(
  db: Db,
  applicationId: string,
  after: string | undefined,
): AsyncGenerator<string[]> {
  let position = after ?? null;
  for (let limit = FIRST_IDS; ; limit = MORE_IDS) {
    const rows = await readIds(db, applicationId, { after: position, limit });
    if (rows.length > 0) yield rows.map(({ id }) => id);
    position = rows.at(-1)?.id ?? null;
    if (rows.length < limit) return;
  }
}

function readIds(
  db: Db,
  applicationId: string,
  { after, limit }: { after: string | null; limit: number },
): Promise<{ id: string }[]> {
  // In two statements, as one that covers both cases would look at all rows for either. `id` alone would be the text that
  // is selected, which no index has.
  if (after === null) {
    return db.$queryRaw`
      select id::text from deployments where application_id = ${applicationId}::uuid
       order by deployments.id desc limit ${limit}`;
  }
  return db.$queryRaw`
    select id::text from deployments where application_id = ${applicationId}::uuid and id < ${after}::uuid
     order by deployments.id desc limit ${limit}`;
}
