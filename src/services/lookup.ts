import { AppError } from '../domain/errors.ts';
import type { NameKind } from '../domain/names.ts';
import { nearestName } from '../domain/nearest.ts';
import { quoted } from '../domain/quoted.ts';
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

/**
 * Refuses to delete what others need, and names them.
 * @param uses plural noun → names
 * @throws {AppError} `in_use`
 */
export function refuseInUse(what: string, uses: Readonly<Record<string, readonly string[]>>): void {
  const used = Object.entries(uses).filter(([, names]) => names.length > 0);
  if (used.length === 0) return;
  const list = used.map(
    ([noun, names]) =>
      `${noun} ${names.slice(0, 10).map(quoted).join(', ')}${names.length > 10 ? ', …' : ''}`,
  );
  throw new AppError(
    'in_use',
    `${what} is needed by ${list.join(' and ')}. Remove what needs it first.`,
    {
      details: { used_by: Object.fromEntries(used) },
    },
  );
}
