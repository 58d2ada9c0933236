import { AppError } from '../domain/errors.ts';
import { parseName } from '../domain/names.ts';
import { mayAdminister, type Permissions } from '../domain/permissions.ts';
import { listApplications } from '../store/applications.ts';
import type { Db } from '../store/database.ts';
import type { Page } from '../store/paging.ts';
import { listServerPlaces } from '../store/servers.ts';
import * as store from '../store/users.ts';
import { recordAudit } from './audit.ts';
import {
  type AuthenticatedCaller,
  FILE_TOKEN_NAME,
  OPERATOR_TOKEN_NAMES,
  removeAdminTokenFile,
} from './authentication.ts';
import { type EffectivePermissions, resolvePermissions } from './authorization.ts';
import { type Caller, type PageOf, type ServiceContext, toPage } from './context.ts';
import { found, SUGGESTION_PAGE } from './lookup.ts';
import { hashNewPassword } from './password-work.ts';

/** A user without the password's hash, which never leaves the store. */
export type User = Omit<store.UserRow, 'passwordHash'>;

export interface NewUser {
  readonly username: string;
  readonly password: string;
  readonly permissions: Permissions;
}

export type UserChanges = {
  readonly password?: string | undefined;
  readonly permissions?: Permissions | undefined;
};

export async function listUsers(context: ServiceContext, page: Page): Promise<PageOf<User>> {
  return toPage(await store.listUsers(context.database.db, page), page.limit, (u) => u.username);
}

/** @throws {AppError} `not_found` */
export function getUser(context: ServiceContext, username: string): Promise<User> {
  return requireUser(context.database.db, username);
}

async function requireUser(db: Db, username: string): Promise<store.UserRow> {
  return found(await store.findUser(db, username), {
    kind: 'user',
    name: username,
    names: async () =>
      (await store.listUsers(db, SUGGESTION_PAGE)).map((user) => ({ name: user.username })),
  });
}

/** What a user's permissions come to now. @throws {AppError} `not_found` */
export async function getEffectivePermissions(
  context: ServiceContext,
  username: string,
): Promise<EffectivePermissions> {
  const { db } = context.database;
  const { permissions } = await requireUser(db, username);
  const [applications, servers] = await Promise.all([
    listApplications(db, {}),
    listServerPlaces(db),
  ]);
  return resolvePermissions(permissions, {
    applications: applications.map(({ name }) => name),
    servers: servers.map(({ name }) => name),
  });
}

/** @throws {AppError} `invalid_input` (name, password), `already_exists` */
export async function createUser(
  context: ServiceContext,
  caller: Caller,
  input: NewUser,
): Promise<User> {
  const username = parseName('user', input.username);
  const passwordHash = await hashNewPassword(input.password);
  return context.database.transaction(async (tx) => {
    const { permissions } = input;
    const user = await store.insertUser(tx, { username, passwordHash, permissions });
    await recordAudit(tx, caller, {
      action: 'user.create',
      application: null,
      subject: username,
      after: describeUser(user),
    });
    return user;
  });
}

/**
 * Replaces a user's password, permissions, or both. A new password ends the tokens that were got by the old one,
 * but for the one that this is asked with; those of the machine's configuration stay.
 * @throws {AppError} `not_found`, `invalid_input` (password); `forbidden` for permissions, if the caller may not
 *   write `_global`; `conflict` if nobody else may write `_global` and this user no longer could
 */
export async function changeUser(
  context: ServiceContext,
  caller: AuthenticatedCaller,
  username: string,
  changes: UserChanges,
): Promise<User> {
  const { password, permissions } = changes;
  if (permissions !== undefined && !mayAdminister(caller.permissions)) {
    throw new AppError(
      'forbidden',
      'Nobody may change their own permissions; ask an administrator.',
    );
  }
  const passwordHash = password === undefined ? undefined : await hashNewPassword(password);
  return context.database.transaction(async (tx) => {
    await store.lockUsers(tx);
    const before = await requireUser(tx, username);
    const user = await store.updateUser(tx, before.id, { passwordHash, permissions });
    await refuseWithoutAdministrator(tx, username);
    const ended =
      passwordHash === undefined
        ? undefined
        : await store.deleteTokensOf(tx, user.id, {
            id: caller.tokenId,
            names: OPERATOR_TOKEN_NAMES,
          });
    await recordAudit(tx, caller, {
      action: 'user.change',
      application: null,
      subject: username,
      before: describeUser(before),
      after: {
        ...describeUser(user),
        ...(ended === undefined ? {} : { password_changed: true, tokens_ended: ended }),
      },
    });
    return user;
  });
}

/**
 * Deletes a user with all tokens. What the user has done stays on record by name.
 * @throws {AppError} `not_found`; `conflict` if nobody else may write `_global`
 */
export async function deleteUser(
  context: ServiceContext,
  caller: Caller,
  username: string,
): Promise<void> {
  const hadFile = await context.database.transaction(async (tx) => {
    await store.lockUsers(tx);
    const user = await requireUser(tx, username);
    const fileTokens = await store.listTokensNamed(tx, user.id, FILE_TOKEN_NAME);
    await store.deleteUser(tx, user.id);
    await refuseWithoutAdministrator(tx, username);
    await recordAudit(tx, caller, {
      action: 'user.delete',
      application: null,
      subject: username,
      before: describeUser(user),
    });
    return fileTokens.length > 0;
  });
  if (hadFile) await removeAdminTokenFile(context);
}

/** Called after the change, in its transaction: what it throws takes the change back. */
async function refuseWithoutAdministrator(tx: Db, username: string): Promise<void> {
  const users = await store.listUsers(tx, {});
  if (users.some(({ permissions }) => mayAdminister(permissions))) return;
  throw new AppError(
    'conflict',
    `User \`${username}\` is the last one who may write \`_global\`; give that permission to another user first.`,
    { details: { username } },
  );
}

/** A user as the audit shows it. */
function describeUser({ username, permissions }: User): Record<string, unknown> {
  return { username, permissions };
}
