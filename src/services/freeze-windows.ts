import {
  checkFreezeWindow,
  type FreezeWindow as NewFreezeWindow,
  overSince,
} from '../domain/freeze-window.ts';
import { parseName } from '../domain/names.ts';
import { nearestName } from '../domain/nearest.ts';
import { quoted } from '../domain/quoted.ts';
import type { Db } from '../store/database.ts';
import * as store from '../store/freeze-windows.ts';
import type { Page } from '../store/paging.ts';
import { listServerPlaces } from '../store/servers.ts';
import { recordAudit } from './audit.ts';
import { type Caller, type PageOf, type ServiceContext, toPage } from './context.ts';
import { found, SUGGESTION_PAGE } from './lookup.ts';

export type FreezeWindow = store.FreezeWindowRow;

export async function listFreezeWindows(
  context: ServiceContext,
  environment: string,
  page: Page,
): Promise<PageOf<FreezeWindow>> {
  const rows = await store.listFreezeWindows(context.database.db, environment, page);
  return toPage(rows, page.limit, ({ name }) => name);
}

/** @throws {AppError} `not_found` */
export function getFreezeWindow(
  context: ServiceContext,
  environment: string,
  name: string,
): Promise<FreezeWindow> {
  return requireFreezeWindow(context.database.db, environment, name);
}

/**
 * Holds back all deployments to an environment at certain times. The environment may be without servers yet, and the
 * time may be over, as what is described once is applied again and again; but that is told.
 * @returns it, and why it may not do what was meant
 * @throws {AppError} `invalid_input`, `already_exists`
 */
export async function createFreezeWindow(
  context: ServiceContext,
  caller: Caller,
  input: NewFreezeWindow,
): Promise<{ readonly window: FreezeWindow; readonly messages: readonly string[] }> {
  const name = parseName('freeze window', input.name);
  const environment = parseName('environment', input.environment);
  checkFreezeWindow(input);
  return context.database.transaction(async (tx) => {
    const window = await store.insertFreezeWindow(tx, { ...input, name, environment });
    await recordAudit(tx, caller, {
      action: 'freezewindow.create',
      application: null,
      subject: `${environment}/${name}`,
      after: describe(window),
    });
    return { window, messages: await doubtsAbout(tx, window) };
  });
}

async function doubtsAbout(db: Db, window: FreezeWindow): Promise<string[]> {
  const messages: string[] = [];
  const environments = (await listServerPlaces(db)).map((server) => server.environment);
  if (!environments.includes(window.environment)) {
    const near = nearestName(window.environment, environments);
    messages.push(
      `No server is in environment ${quoted(window.environment)}, so this freezes nothing yet${near === null ? '.' : `; did you mean \`${near}\`?`}`,
    );
  }
  const end = overSince(window, new Date());
  if (end !== null) {
    messages.push(
      `This was over at ${end.toISOString()} and never comes again, so it freezes nothing; give a later moment, or five fields as cron has them for what comes again.`,
    );
  }
  return messages;
}

/** @throws {AppError} `not_found` */
export async function deleteFreezeWindow(
  context: ServiceContext,
  caller: Caller,
  environment: string,
  name: string,
): Promise<void> {
  const woken = await context.database.transaction(async (tx) => {
    const window = await requireFreezeWindow(tx, environment, name);
    await store.deleteFreezeWindow(tx, window.id);
    await recordAudit(tx, caller, {
      action: 'freezewindow.delete',
      application: null,
      subject: `${environment}/${name}`,
      before: describe(window),
    });
    return store.wakeFrozen(tx, environment);
  });
  for (const jobId of woken) await context.queue.ring(jobId);
}

async function requireFreezeWindow(
  db: Db,
  environment: string,
  name: string,
): Promise<FreezeWindow> {
  return found(await store.findFreezeWindow(db, environment, name), {
    kind: 'freeze window',
    name,
    names: () => store.listFreezeWindows(db, environment, SUGGESTION_PAGE),
  });
}

/** A freeze window as the audit shows it. */
function describe(window: FreezeWindow): Record<string, unknown> {
  const { environment, name, schedule, durationSeconds: duration, timezone, reason } = window;
  return { environment, name, schedule, duration, timezone, reason };
}
