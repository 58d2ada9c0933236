import { sortedUnique } from '../domain/code-unit-order.ts';
import { AppError } from '../domain/errors.ts';
import type { NameKind } from '../domain/names.ts';
import { nearestName } from '../domain/nearest.ts';
import { quoted, quotedList } from '../domain/quoted.ts';
import { type ApplicationRow, findApplication, listApplications } from '../store/applications.ts';
import type { Db } from '../store/database.ts';

/** How many names are looked through for what was probably meant. */
const SUGGEST_AMONG = 1000;

/**
 * Gives back what was found, or says that there is no such thing and what was probably meant.
 * @param names lists the known names; called only if nothing was found
 * @throws {AppError} `not_found`
 */
export async function found<T>(
  row: T | null,
  what: { kind: NameKind; name: string; names: () => Promise<readonly { name: string }[]> },
): Promise<T> {
  if (row !== null) return row;
  const known = (await what.names()).map(({ name }) => name);
  const near = nearestName(what.name, known);
  const noun = `${what.kind[0]?.toUpperCase()}${what.kind.slice(1)}`;
  throw new AppError(
    'not_found',
    `${noun} ${quoted(what.name)} does not exist; ${near === null ? whatThereIs(known) : `did you mean \`${near}\`?`}`,
    { details: { kind: what.kind, name: what.name, ...(near === null ? {} : { nearest: near }) } },
  );
}

/** As many names as one takes in at a glance. */
const LISTED_NAMES = 10;

function whatThereIs(known: readonly string[]): string {
  if (known.length === 0) return 'there is none yet.';
  const listed = known.slice(0, LISTED_NAMES).map(quoted).join(', ');
  return known.length > LISTED_NAMES
    ? `there are ${listed} and ${known.length - LISTED_NAMES} more.`
    : `there ${known.length === 1 ? 'is' : 'are'} ${listed}.`;
}

/** @throws {AppError} `not_found` */
export async function requireApplication(db: Db, name: string): Promise<ApplicationRow> {
  return found(await findApplication(db, name), {
    kind: 'application',
    name,
    names: () => listApplications(db, { limit: SUGGEST_AMONG }),
  });
}

export const SUGGESTION_PAGE = { limit: SUGGEST_AMONG } as const;

/** One that needs something else; `application` is that which must be readable for its name to be told. */
interface Use {
  readonly application: string | null;
  readonly name: string;
}

/**
 * Refuses to delete what others need, and names them.
 * @param uses plural noun → names
 * @param how.advice what to do; default: remove what needs it first
 * @param how.isVisible whether the caller may see what is of an application; the others are only counted
 * @throws {AppError} `in_use`
 */
export function refuseInUse(
  what: string,
  uses: Readonly<Record<string, readonly (string | Use)[]>>,
  how: { readonly advice?: string; readonly isVisible?: (application: string) => boolean } = {},
): void {
  const { advice = 'Remove what needs it first.', isVisible = () => true } = how;
  const all = Object.entries(uses).flatMap(([noun, names]) =>
    names.map((use) => ({ noun, ...(typeof use === 'string' ? plain(use) : use) })),
  );
  if (all.length === 0) return;
  const seen = all.filter(({ application }) => application === null || isVisible(application));
  const hidden = all.length - seen.length;
  const usedBy = Object.fromEntries(
    sortedUnique(seen.map(({ noun }) => noun)).map((noun) => [
      noun,
      sortedUnique(seen.flatMap((use) => (use.noun === noun ? [use.name] : []))),
    ]),
  );
  const phrases = [
    ...Object.entries(usedBy).map(([noun, names]) => `${noun} ${quotedList(names)}`),
    ...(hidden === 0 ? [] : [`${hidden} more that you may not see`]),
  ];
  throw new AppError('in_use', `${what} is needed by ${phrases.join(' and ')}. ${advice}`, {
    details: { used_by: usedBy, ...(hidden === 0 ? {} : { hidden }) },
  });
}

const plain = (name: string): Use => ({ application: null, name });

/**
 * Finds what a query parameter or the body names. Only what the path names can be missing there (404); an unknown name
 * anywhere else is bad input (400), with the same words.
 * @param parameter as the caller knows it
 * @throws {AppError} `invalid_input` in place of `not_found`
 */
export async function named<T>(parameter: string, find: Promise<T>): Promise<T> {
  try {
    return await find;
  } catch (error) {
    throw asBadInput(parameter, error);
  }
}

/** An error to throw in place of `error`: another one if it says that what a parameter names does not exist. */
export function asBadInput(parameter: string, error: unknown): unknown {
  if (!(error instanceof AppError) || error.code !== 'not_found') return error;
  return new AppError('invalid_input', error.message, {
    details: { parameter, ...error.details },
    cause: error,
  });
}
