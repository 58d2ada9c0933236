import { seconds } from './progress.ts';
import type { Cell, Table } from './table.ts';
import type { Look } from './terminal.ts';
import type { Batch, Deployment } from './wire.ts';

const LOOKS: Readonly<Record<string, { readonly mark: string; readonly look: Look }>> = {
  pending: { mark: '·', look: 'dim' },
  running: { mark: '●', look: 'cyan' },
  succeeded: { mark: '✓', look: 'green' },
  failed: { mark: '✗', look: 'red' },
  skipped: { mark: '-', look: 'yellow' },
  cancelled: { mark: '-', look: 'yellow' },
};

/** The batches of a deployment as they stand. Numbers are the API's own, from 0. */
export function batchTable({ batches }: Deployment): Table {
  return {
    columns: [
      { title: 'batch', align: 'right' },
      { title: 'slice', align: 'right' },
      { title: 'level', align: 'right' },
      { title: 'servers' },
      { title: 'gitdeploys' },
      { title: 'time', align: 'right' },
      { title: 'status' },
    ],
    rows: batches.map((batch) => [
      { text: `${batch.index}` },
      { text: `${batch.slice}` },
      { text: `${batch.level}` },
      { text: serversOf(batch).join(' ') },
      { text: gitdeploysOf(batch).join(' ') },
      { text: timeOf(batch) },
      statusOf(batch),
    ]),
  };
}

/** What has changed since the deployment was last looked at, a line each, for where nothing can be redrawn. */
export function batchChanges(before: Deployment | null, now: Deployment): readonly string[] {
  const old = new Map(before?.batches.map((batch) => [batch.index, batch.status]));
  return now.batches
    .filter(({ index, status }) => status !== (old.get(index) ?? 'pending'))
    .map((batch) => {
      const time = timeOf(batch) === '' ? '' : ` (${timeOf(batch)})`;
      return `  batch ${batch.index}: ${gitdeploysOf(batch).join(' ')} on ${serversOf(batch).join(' ')}: ${batch.status}${time}`;
    });
}

/** A line for each step that failed, with Muster's reason, and the deployment's own. */
export function failures({ batches, error }: Deployment): readonly string[] {
  const ofSteps = batches
    .flatMap(({ steps }) => steps)
    .filter((step) => step.status === 'failed')
    .map(
      (step) => `${step.gitdeploy} on ${step.server}: ${step.error?.message ?? 'no reason told'}`,
    );
  return error == null ? ofSteps : [error.message, ...ofSteps];
}

function serversOf({ steps }: Batch): readonly string[] {
  return [...new Set(steps.map(({ server }) => server))];
}

function gitdeploysOf({ steps }: Batch): readonly string[] {
  return [...new Set(steps.map(({ gitdeploy }) => gitdeploy))];
}

function timeOf({ started_at, finished_at }: Batch): string {
  if (started_at === null || finished_at === null) return '';
  return seconds(Date.parse(finished_at) - Date.parse(started_at));
}

function statusOf({ status, steps }: Batch): Cell {
  const { mark, look } = LOOKS[status] ?? { mark: ' ', look: 'yellow' };
  const done = steps.filter((step) => step.status === 'succeeded').length;
  const text = status === 'running' ? `${mark} ${done} of ${steps.length}` : `${mark} ${status}`;
  return { text, look };
}
