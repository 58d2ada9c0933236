import { AppError } from '../domain/errors.ts';
import { parseGitUri } from '../domain/git-uri.ts';
import {
  apiBase,
  assertGitproviderHosts,
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
import type { AuthenticatedCaller } from './authentication.ts';
import { type Deleted, deleteWithNeeds } from './cascade.ts';
import { type Caller, type PageOf, type ServiceContext, toPage } from './context.ts';
import { describeGitprovider } from './descriptions.ts';
import { found, SUGGESTION_PAGE } from './lookup.ts';

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

/** What may be changed of a git provider. */
export interface GitproviderChanges {
  /** Null for the public service of its kind. */
  readonly url?: string | null | undefined;
  /** Reads what authenticates as its kind wants it; the kind itself never changes. */
  readonly auth?: ((kind: GitproviderKind) => GitproviderAuth) | undefined;
}

/**
 * Changes where a git provider is, what authenticates there, or both. Jobs use it from their next call on.
 * @throws {AppError} `not_found`, `invalid_input`, also for another host without what authenticates there; `conflict`
 *   while gitrepos are on the host that it leaves
 */
export async function changeGitprovider(
  context: ServiceContext,
  caller: Caller,
  { name, changes }: { name: string; changes: GitproviderChanges },
): Promise<Gitprovider> {
  const { database, config, log } = context;
  const changed = await database.transaction(async (tx) => {
    await store.lockGitprovider(tx, name);
    const before = await requireGitprovider(tx, name);
    const auth = changes.auth?.(before.kind);
    const url = changes.url == null ? changes.url : parseGitproviderUrl(changes.url);
    const after = await store.updateGitprovider(tx, before.id, {
      url: url === undefined ? before.url : url,
      authSealed:
        auth === undefined
          ? new Uint8Array(before.authSealed)
          : sealSecret(JSON.stringify(auth), config.secretKey),
    });
    await refuseMove(tx, { before, after, hasAuth: auth !== undefined });
    await recordAudit(tx, caller, {
      action: 'gitprovider.change',
      application: null,
      subject: name,
      before: describeGitprovider(before),
      after: { ...describeGitprovider(after), auth_changed: auth !== undefined },
    });
    return after;
  });
  log.info({ gitprovider: name }, 'git provider changed');
  return changed;
}

/**
 * What authenticates is never shown, so it must not be sent elsewhere either: not the old one to a new host, nor the
 * new one to the old host, where gitrepos may still be.
 */
async function refuseMove(
  tx: Db,
  move: { before: store.GitproviderRow; after: store.GitproviderRow; hasAuth: boolean },
): Promise<void> {
  const { before, after, hasAuth } = move;
  const [from, to] = [before, after].map(({ kind, url }) => new URL(apiBase(kind, url)).origin);
  if (from === to) return;
  if (!hasAuth) {
    throw new AppError(
      'invalid_input',
      `\`url\` leads to another host, and what authenticates at ${from} is not sent there. Give \`auth\` as well.`,
      { details: { parameter: 'auth' } },
    );
  }
  const left = (await store.listGitproviderUris(tx, after.id)).filter(
    ({ uri }) => !isAtGitprovider(uri, after),
  );
  if (left.length === 0) return;
  throw new AppError(
    'conflict',
    `${left.length === 1 ? 'A gitrepo is' : `${left.length} gitrepos are`} at ${from} and would be sent the new credentials. Make another git provider for the new host.`,
    { details: { gitrepos: left.length } },
  );
}

function isAtGitprovider(text: string, provider: store.GitproviderRow): boolean {
  const uri = parseGitUri(text);
  if (uri.kind !== 'http') return true;
  try {
    assertGitproviderHosts(uri, provider);
    return true;
  } catch {
    return false;
  }
}

/**
 * Deletes a git provider.
 * @returns what went with it: with `cascade` the gitrepos at it, as by `deleteGitrepo`
 * @throws {AppError} as `deleteWithNeeds`
 */
export async function deleteGitprovider(
  context: ServiceContext,
  caller: AuthenticatedCaller,
  { name, cascade }: { name: string; cascade: boolean },
): Promise<Deleted> {
  return deleteWithNeeds(context, caller, {
    what: `Git provider \`${name}\``,
    cascade,
    find: async (tx) => ({ kind: 'gitprovider', id: (await requireGitprovider(tx, name)).id }),
    record: async (tx) =>
      recordAudit(tx, caller, {
        action: 'gitprovider.delete',
        application: null,
        subject: name,
        before: describeGitprovider(await requireGitprovider(tx, name)),
      }),
  });
}
