import { AppError } from '../domain/errors.ts';
import { parseGitUri } from '../domain/git-uri.ts';
import { assertGitproviderHosts } from '../domain/gitprovider.ts';
import { parseName } from '../domain/names.ts';
import type { Db } from '../store/database.ts';
import type { GitproviderRow } from '../store/gitproviders.ts';
import * as store from '../store/gitrepos.ts';
import type { Page } from '../store/paging.ts';
import { recordAudit } from './audit.ts';
import type { AuthenticatedCaller } from './authentication.ts';
import { requireGlobal } from './authorization.ts';
import { type Deleted, deleteWithNeeds } from './cascade.ts';
import { type PageOf, type ServiceContext, toPage } from './context.ts';
import { describeGitrepo } from './descriptions.ts';
import { requireGitprovider } from './gitproviders.ts';
import { type Job, recordJob, ringJob } from './jobs.ts';
import { requireKeypair } from './keypairs.ts';
import { found, named, requireApplication, SUGGESTION_PAGE } from './lookup.ts';

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
 * Records a gitrepo; a job makes its repository, at the provider or in Muster's own store, or adopts the one at `uri`.
 * @throws {AppError} `not_found` (application), `invalid_input`, `already_exists`; `forbidden` if
 *   it is to use a keypair or git provider, which belong to no application, and the caller may not read those
 */
export async function createGitrepo(
  context: ServiceContext,
  caller: AuthenticatedCaller,
  applicationName: string,
  input: NewGitrepo,
): Promise<{ gitrepo: Gitrepo; job: Job }> {
  const { database } = context;
  const application = await requireApplication(database.db, applicationName);
  const name = parseName('gitrepo', input.name);
  refuseContradictions(input);
  if (input.keypair !== undefined || input.gitprovider !== undefined) requireGlobal(caller, 'read');
  const { uri = null } = input;
  const [keypair, gitprovider] = await Promise.all([
    input.keypair === undefined
      ? null
      : named('keypair', requireKeypair(database.db, input.keypair)),
    input.gitprovider === undefined
      ? null
      : named('gitprovider', requireGitprovider(database.db, input.gitprovider)),
  ]);
  if (uri !== null) refuseUnreachable(uri, { keypair, gitprovider });
  const created = await database.transaction(async (tx) => {
    const gitrepo = await store.insertGitrepo(tx, {
      applicationId: application.id,
      name,
      existing: uri !== null,
      uri,
      gitproviderId: gitprovider?.id ?? null,
      keypairId: keypair?.id ?? null,
    });
    const job = await recordJob(tx, caller, {
      kind: 'create_gitrepo',
      data: { gitrepoId: gitrepo.id },
      applicationId: application.id,
    });
    await recordAudit(tx, caller, {
      action: 'gitrepo.create',
      application: applicationName,
      subject: name,
      after: describeGitrepo(gitrepo),
    });
    return { gitrepo, job };
  });
  await ringJob(context, created.job);
  return created;
}

/**
 * Forgets a gitrepo. A repository at a provider stays there, with all that was pushed.
 * @returns what went with it: with `cascade` the gitdeploys that name it, as by `deleteGitdeploy`
 * @throws {AppError} as `deleteWithNeeds`
 */
export async function deleteGitrepo(
  context: ServiceContext,
  caller: AuthenticatedCaller,
  { applicationName, name, cascade }: { applicationName: string; name: string; cascade: boolean },
): Promise<Deleted> {
  return deleteWithNeeds(context, caller, {
    what: `Gitrepo \`${name}\``,
    cascade,
    find: async (tx) => {
      const application = await requireApplication(tx, applicationName);
      const { id } = await requireGitrepo(tx, application.id, name);
      return { kind: 'gitrepo', id };
    },
  });
}

/** `uri` says where a repository is that exists; without one, Muster makes it. */
function refuseContradictions({ existing, uri }: NewGitrepo): void {
  if (existing === true && uri === undefined) {
    throw new AppError(
      'invalid_input',
      '`existing=true` needs `uri`: say where the repository is, as `https://host/path.git`, `ssh://git@host/path.git` or `git@host:path.git`.',
      { details: { parameter: 'uri' } },
    );
  }
  if (existing === false && uri !== undefined) {
    throw new AppError(
      'invalid_input',
      '`uri` is where an existing repository is. Give `existing=true` to use it, or leave `uri` out to have a repository created.',
      { details: { parameter: 'uri' } },
    );
  }
}

/** Every repository needs a way in, and a provider's credentials go to that provider alone. */
function refuseUnreachable(
  text: string,
  access: { keypair: object | null; gitprovider: GitproviderRow | null },
): void {
  const uri = parseGitUri(text);
  if (uri.kind === 'ssh' && access.keypair === null) {
    throw new AppError(
      'invalid_input',
      'A repository that is reached by SSH needs a `keypair`. Name one, and give its public key write access there.',
      { details: { parameter: 'keypair' } },
    );
  }
  if (uri.kind === 'http' && access.gitprovider !== null) {
    assertGitproviderHosts(uri, access.gitprovider);
  }
}
