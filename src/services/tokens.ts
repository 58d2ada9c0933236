import { counted } from '../domain/counted.ts';
import { AppError } from '../domain/errors.ts';
import { parseName } from '../domain/names.ts';
import { mayAdminister } from '../domain/permissions.ts';
import type { Db } from '../store/database.ts';
import * as store from '../store/users.ts';
import { NOBODY, recordAudit, recordRefusal } from './audit.ts';
import {
  type AuthenticatedCaller,
  FILE_TOKEN_NAME,
  generateToken,
  hashToken,
  OPERATOR_TOKEN_NAMES,
  removeAdminTokenFile,
} from './authentication.ts';
import { type Caller, type PageOf, type ServiceContext, toPage } from './context.ts';
import type { LoginGuard } from './login-guard.ts';
import { checkPassword } from './password-work.ts';

/** A token without its hash, which never leaves the store. */
export type Token = Omit<store.TokenRow, 'hash'>;

export interface Login {
  readonly username: string;
  readonly password: string;
  /** What the new token is for. Default `login`. */
  readonly name?: string | undefined;
  /** Default never. */
  readonly expiresInSeconds?: number | undefined;
}

/** Where a request comes from that nobody has put a token to. */
export type Origin = Pick<Caller, 'remoteAddress' | 'requestId'>;

const DEFAULT_NAME = 'login';

/**
 * Makes a token for whoever knows a user's password. Says the same, after the same time, for a wrong password,
 * an unknown user and a user without password.
 * @returns the token itself, which is nowhere else and can be shown only now
 * @throws {AppError} `unauthenticated`, `too_many_requests`; `invalid_input` for the name; `conflict` if the user has
 *   as many tokens as the settings allow
 */
export async function logIn(
  context: ServiceContext,
  { guard, origin }: { guard: LoginGuard; origin: Origin },
  login: Login,
): Promise<{ token: string; username: string; row: Token }> {
  const name = parseTokenName(login.name ?? DEFAULT_NAME);
  const takeBack = guard.admit(login.username, origin.remoteAddress);
  const { database, log } = context;
  const user = await store.findUser(database.db, login.username);
  const isRight = await checkPassword(login.password, user?.passwordHash ?? null);
  if (user === null || !isRight) {
    // Passwords are at times typed where the username belongs, so an unknown one is not written down.
    const username = user?.username ?? NOBODY;
    const refusal = { action: 'login.failed', application: null, subject: username };
    await recordRefusal(context, guard.auditThrottle, { username, ...origin }, refusal);
    throw wrongLogin();
  }
  takeBack();
  const token = generateToken();
  const row = await database.transaction(async (tx) => {
    // Had the password been changed meanwhile, this token would outlive those that the change has ended.
    if ((await store.lockUser(tx, user.id)) !== user.passwordHash) throw wrongLogin();
    await requireRoom(tx, user, context.config.maxTokensPerUser);
    const made = await store.insertToken(tx, {
      userId: user.id,
      name,
      hash: hashToken(token),
      expiresAt: expiryOf(login.expiresInSeconds),
    });
    await recordAudit(
      tx,
      { username: user.username, ...origin },
      {
        action: 'token.create',
        application: null,
        subject: made.id,
        after: describeToken(made, user.username),
      },
    );
    return made;
  });
  log.info({ username: user.username, token: row.id }, 'token created');
  return { token, username: user.username, row };
}

/** Who takes a new token for every run of a script would otherwise fill the database with what nobody will end. */
async function requireRoom(
  tx: Db,
  { id, username }: store.UserRow,
  maxTokens: number,
): Promise<void> {
  const count = await store.countTokens(tx, id, OPERATOR_TOKEN_NAMES);
  if (count < maxTokens) return;
  throw new AppError(
    'conflict',
    `User \`${username}\` has ${counted(count, 'token')}, and no more than ${maxTokens} may be in use at once; end those that are not needed (DELETE /global/tokens/{id}), or have an administrator set a new password, which ends all of them. Give \`expires_in\` to have tokens end by themselves.`,
    { details: { username, tokens: count, limit: maxTokens } },
  );
}

/** One of the caller's own tokens. @throws {AppError} `not_found` */
export async function getToken(
  context: ServiceContext,
  caller: AuthenticatedCaller,
  id: string,
): Promise<Token> {
  const token = await store.findTokenById(context.database.db, id);
  if (token === null || token.userId !== caller.userId) throw unknownToken(id);
  return token;
}

/** The caller's own tokens, newest first. */
export async function listTokens(
  context: ServiceContext,
  caller: Caller,
  page: { limit: number; after?: string | undefined },
): Promise<PageOf<Token>> {
  const rows = await store.listTokens(context.database.db, caller.userId, page);
  return toPage(rows, page.limit, ({ id }) => id);
}

/**
 * Ends a token: the caller's own, or anybody's if the caller may write `_global`.
 * @throws {AppError} `not_found`, also for a token of somebody else
 */
export async function deleteToken(
  context: ServiceContext,
  caller: AuthenticatedCaller,
  id: string,
): Promise<void> {
  const name = await context.database.transaction(async (tx) => {
    const token = await store.findTokenById(tx, id);
    const isTheirs = token?.userId === caller.userId || mayAdminister(caller.permissions);
    if (token === null || !isTheirs || !(await store.deleteToken(tx, id))) throw unknownToken(id);
    await recordAudit(tx, caller, {
      action: 'token.delete',
      application: null,
      subject: id,
      before: describeToken(token, token.user.username),
    });
    return token.name;
  });
  if (name === FILE_TOKEN_NAME) await removeAdminTokenFile(context);
}

function parseTokenName(name: string): string {
  if (OPERATOR_TOKEN_NAMES.includes(name)) {
    throw new AppError(
      'invalid_input',
      `\`${name}\` is the name of a token that Muster makes by itself; choose another name.`,
      { details: { reserved: OPERATOR_TOKEN_NAMES } },
    );
  }
  return parseName('token', name);
}

function expiryOf(seconds: number | undefined): Date | null {
  return seconds === undefined ? null : new Date(Date.now() + seconds * 1000);
}

/** A token as the audit shows it. */
function describeToken(token: Token, username: string): Record<string, unknown> {
  return {
    name: token.name,
    username,
    expires_datetime: token.expiresAt?.toISOString() ?? null,
  };
}

function wrongLogin(): AppError {
  return new AppError(
    'unauthenticated',
    'The username or the password is wrong; correct them, or ask an administrator to set a new password.',
  );
}

function unknownToken(id: string): AppError {
  return new AppError(
    'not_found',
    `You have no token ${id}; GET /global/tokens lists your tokens.`,
  );
}
