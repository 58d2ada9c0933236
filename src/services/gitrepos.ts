import { AppError } from '../domain/errors.ts';
import { parseName } from '../domain/names.ts';
import type { Db } from '../store/database.ts';
import { findGitrepoUses } from '../store/gitdeploys.ts';
import * as store from '../store/gitrepos.ts';
import type { Page } from '../store/paging.ts';
import { type Caller, type PageOf, type ServiceContext, toPage } from './context.ts';
import { type Job, recordJob, ringJob } from './jobs.ts';
import { requireKeypair } from './keypairs.ts';
import { found, refuseInUse, requireApplication, SUGGESTION_PAGE } from './lookup.ts';

export type Gitrepo = store.GitrepoRow;

export interface NewGitrepo {
  readonly name: string;
  readonly existing?: boolean | undefined;
  readonly gitprovider?: string | undefined;
  readonly uri?: string | undefined;
  readonly keypair?: string | undefined;
}

export async function listGitrepos(
  context: ServiceContext,
  applicationName: string,
  page: Page,
): Promise<PageOf<Gitrepo>> {
  const { db } = context.database;
  const application = await requireApplication(db, applicationName);
  return toPage(await store.listGitrepos(db, application.id, page), page.limit, (g) => g.name);
}

/** @throws {AppError} `not_found` */
export async function getGitrepo(
  context: ServiceContext,
  applicationName: string,
  name: string,
): Promise<Gitrepo> {
  const { db } = context.database;
  const application = await requireApplication(db, applicationName);
  return requireGitrepo(db, application.id, name);
}

/** @throws {AppError} `not_found` */
export async function requireGitrepo(
  db: Db,
  applicationId: string,
  name: string,
): Promise<Gitrepo> {
  return found(await store.findGitrepo(db, applicationId, name), {
    kind: 'gitrepo',
    name,
    names: () => store.listGitrepos(db, applicationId, SUGGESTION_PAGE),
  });
}

/**
 * Records a gitrepo in Muster's own store; a job makes its first commit.
 * @throws {AppError} `not_found` (application, keypair), `invalid_input`, `already_exists`
 */
export async function createGitrepo(
  context: ServiceContext,
  caller: Caller,
  applicationName: string,
  input: NewGitrepo,
): Promise<{ gitrepo: Gitrepo; job: Job }> {
  const { database } = context;
  const application = await requireApplication(database.db, applicationName);
  const name = parseName('gitrepo', input.name);
  refuseProviders(input);
  const keypair =
    input.keypair === undefined ? null : await requireKeypair(database.db, input.keypair);
  const created = await database.transaction(async (tx) => {
    const gitrepo = await store.insertGitrepo(tx, {
      applicationId: application.id,
      name,
      keypairId: keypair?.id ?? null,
    });
    const job = await recordJob(tx, caller, {
      kind: 'create_gitrepo',
      data: { gitrepoId: gitrepo.id },
      applicationId: application.id,
    });
    return { gitrepo, job };
  });
  await ringJob(context, created.job);
  return created;
}

/** @throws {AppError} `not_found`; `in_use` while gitdeploys name it */
export async function deleteGitrepo(
  context: ServiceContext,
  applicationName: string,
  name: string,
): Promise<void> {
  const { db } = context.database;
  const gitrepo = await getGitrepo(context, applicationName, name);
  refuseInUse(`Gitrepo \`${name}\``, { gitdeploys: await findGitrepoUses(db, gitrepo.id) });
  await store.deleteGitrepo(db, gitrepo.id);
  // Before its first commit there may be no depot; after it, what stays behind is garbage and no error.
  if (gitrepo.branches.length === 0) return;
  await context.depot
    .dropHeads(gitrepo.applicationId, gitrepo.id)
    .catch((error: unknown) =>
      context.log.warn({ gitrepo: name, err: error }, 'the heads of a deleted gitrepo stay'),
    );
}

function refuseProviders(input: NewGitrepo): void {
  if (input.gitprovider !== undefined) {
    throw new AppError(
      'invalid_input',
      `Git provider \`${input.gitprovider}\` does not exist. Leave out \`gitprovider\` to keep the repository in Muster's own store, which is enough to deploy.`,
      { details: { parameter: 'gitprovider' } },
    );
  }
  if (input.existing === true || input.uri !== undefined) {
    throw new AppError(
      'invalid_input',
      "Repositories outside Muster cannot be taken over yet. Leave out `existing` and `uri` to keep the repository in Muster's own store, which is enough to deploy.",
      { details: { parameter: input.uri === undefined ? 'existing' : 'uri' } },
    );
  }
}
