import { CronExpressionParser } from 'cron-parser';
import { AppError } from './errors.ts';
import { quoted } from './quoted.ts';

/** A time in which nothing is deployed to an environment. */
export interface FreezeWindow {
  readonly environment: string;
  readonly name: string;
  /** When it begins: five fields as cron has them, or one moment as ISO 8601 with its offset. */
  readonly schedule: string;
  readonly durationSeconds: number;
  /** Name of the IANA time zone that the five fields are in. */
  readonly timezone: string;
  readonly reason: string | null;
}

export const MIN_FREEZE_SECONDS = 60;
export const MAX_FREEZE_SECONDS = 366 * 86_400;

const MOMENT = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(?::\d{2}(?:\.\d{1,3})?)?(?:Z|[+-]\d{2}:\d{2})$/;

/**
 * Checks what a user gave for a freeze window.
 * @throws {AppError} `invalid_input` for a schedule or a time zone that means nothing, or a duration out of bounds
 */
export function checkFreezeWindow(
  window: Pick<FreezeWindow, 'schedule' | 'timezone' | 'durationSeconds'>,
): void {
  const { schedule, timezone, durationSeconds } = window;
  if (!isTimezone(timezone)) {
    throw new AppError(
      'invalid_input',
      `${quoted(timezone)} is no time zone; give a name of the IANA database, such as \`UTC\` or \`Europe/Berlin\`.`,
      { details: { parameter: 'timezone' } },
    );
  }
  if (durationSeconds < MIN_FREEZE_SECONDS || durationSeconds > MAX_FREEZE_SECONDS) {
    throw new AppError(
      'invalid_input',
      `\`duration\` is ${durationSeconds}; give ${MIN_FREEZE_SECONDS} to ${MAX_FREEZE_SECONDS} seconds.`,
      { details: { parameter: 'duration' } },
    );
  }
  try {
    latestStart(window, new Date());
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new AppError(
      'invalid_input',
      `${quoted(schedule)} is no schedule (${why}); give five fields as cron has them, such as \`0 18 * * 5\`, or one moment, such as \`2026-12-24T12:00:00Z\`.`,
      { details: { parameter: 'schedule' }, cause },
    );
  }
}

/** Whoever overrides a freeze says why. @throws {AppError} `invalid_input` */
export function requireFreezeReason(reason: string | null): void {
  if (reason !== null && reason.trim() !== '') return;
  throw new AppError(
    'invalid_input',
    '`override_freeze` needs a `reason`; say why it cannot wait for the end of the freeze.',
    { details: { parameter: 'reason' } },
  );
}

/** @returns the end of the freeze that holds at `now`, or null if none does */
export function frozenUntil(window: FreezeWindow, now: Date): Date | null {
  const start = latestStart(window, now);
  if (start === null) return null;
  const end = new Date(start.getTime() + window.durationSeconds * 1000);
  return end > now ? end : null;
}

/** @returns when it ended, if it is of one moment and never holds again; else null */
export function overSince(
  { schedule, durationSeconds }: Pick<FreezeWindow, 'schedule' | 'durationSeconds'>,
  now: Date,
): Date | null {
  if (!MOMENT.test(schedule)) return null;
  const end = new Date(Date.parse(schedule) + durationSeconds * 1000);
  return end <= now ? end : null;
}

/** The last time it began, `now` included; null if it never did. */
function latestStart(
  { schedule, timezone }: Pick<FreezeWindow, 'schedule' | 'timezone'>,
  now: Date,
): Date | null {
  if (MOMENT.test(schedule)) {
    const moment = new Date(schedule);
    if (Number.isNaN(moment.getTime())) throw new Error('there is no such day or hour');
    return moment <= now ? moment : null;
  }
  // The parser takes six fields and names such as @daily as well; a seconds field would be read as minutes by people.
  if (schedule.trim().split(/\s+/).length !== 5) throw new Error('it does not have five fields');
  // It looks strictly before the moment, in whole seconds.
  const currentDate = new Date(now.getTime() + 1000);
  return CronExpressionParser.parse(schedule, { currentDate, tz: timezone }).prev().toDate();
}

function isTimezone(name: string): boolean {
  try {
    new Intl.DateTimeFormat('en', { timeZone: name });
    return true;
  } catch {
    return false;
  }
}
