import {
  type GitproviderAuth,
  type GitproviderKind,
  parseGitproviderUrl,
} from '../domain/gitprovider.ts';
import { parseName } from '../domain/names.ts';
import { sealSecret } from '../domain/sealed-secret.ts';
import type { Db } from '../store/database.ts';
import * as store from '../store/gitproviders.ts';
import type { Page } from '../store/paging.ts';
import { recordAudit } from './audit.ts';
import { type Caller, type PageOf, type ServiceContext, toPage } from './context.ts';
import { found, refuseInUse, SUGGESTION_PAGE } from './lookup.ts';

/** A git provider without what authenticates there, which never leaves the store. */
export type Gitprovider = Omit<store.GitproviderRow, 'authSealed'>;

export interface NewGitprovider {
  readonly name: string;
  readonly kind: GitproviderKind;
  /** Null for the public service of that kind. */
  readonly url: string | null;
  readonly auth: GitproviderAuth;
}

export async function listGitproviders(
  context: ServiceContext,
  page: Page,
): Promise<PageOf<Gitprovider>> {
  return toPage(await store.listGitproviders(context.database.db, page), page.limit, (g) => g.name);
}

/** @throws {AppError} `not_found` */
export function getGitprovider(context: ServiceContext, name: string): Promise<Gitprovider> {
  return requireGitprovider(context.database.db, name);
}

/** @throws {AppError} `not_found` */
export async function requireGitprovider(db: Db, name: string): Promise<store.GitproviderRow> {
  return found(await store.findGitprovider(db, name), {
    kind: 'git provider',
    name,
    names: () => store.listGitproviders(db, SUGGESTION_PAGE),
  });
}

/**
 * Records a git provider. Nothing is sent there yet: jobs talk to it.
 * @throws {AppError} `invalid_input`, `already_exists`
 */
export async function createGitprovider(
  context: ServiceContext,
  caller: Caller,
  input: NewGitprovider,
): Promise<Gitprovider> {
  const { kind, auth } = input;
  const name = parseName('git provider', input.name);
  const url = input.url === null ? null : parseGitproviderUrl(input.url);
  const authSealed = sealSecret(JSON.stringify(auth), context.config.secretKey);
  const gitprovider = await context.database.transaction(async (tx) => {
    const made = await store.insertGitprovider(tx, { name, kind, url, authSealed });
    await recordAudit(tx, caller, {
      action: 'gitprovider.create',
      application: null,
      subject: name,
      after: describeGitprovider(made),
    });
    return made;
  });
  context.log.info({ gitprovider: name, type: kind }, 'git provider created');
  return gitprovider;
}

/** @throws {AppError} `not_found`; `in_use` while gitrepos are at it */
export async function deleteGitprovider(
  context: ServiceContext,
  caller: Caller,
  name: string,
): Promise<void> {
  await context.database.transaction(async (tx) => {
    const gitprovider = await requireGitprovider(tx, name);
    const gitrepos = await store.findGitproviderUses(tx, gitprovider.id);
    refuseInUse(`Git provider \`${name}\``, { gitrepos });
    await store.deleteGitprovider(tx, gitprovider.id);
    await recordAudit(tx, caller, {
      action: 'gitprovider.delete',
      application: null,
      subject: name,
      before: describeGitprovider(gitprovider),
    });
  });
}

/** A git provider as the audit shows it: named one by one, so that no secret is among it. */
function describeGitprovider({ name, kind, url }: Gitprovider): Record<string, unknown> {
  return { name, type: kind, url };
}
