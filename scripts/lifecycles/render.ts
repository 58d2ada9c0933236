import {
  batchLifecycle,
  deploymentLifecycle,
  type Lifecycle,
  stepLifecycle,
} from '../../src/domain/deployment-state.ts';

const BEGIN =
  '<!-- What follows is written by `npx tsx scripts/write-states.ts`; change the code. -->';
const END = '<!-- End of what is written by scripts/write-states.ts. -->';

/**
 * Puts the lifecycles of the code, as pictures and tables, in the place of those in a page.
 * @param page Markdown with the two markers
 * @throws {Error} if the page does not have both
 */
export function withLifecycles(page: string): string {
  const [before, rest] = page.split(BEGIN);
  const [, after] = rest?.split(END) ?? [];
  if (before === undefined || after === undefined) {
    throw new Error('The page does not have the markers between which the lifecycles stand.');
  }
  const sections = [renderLifecycle(deploymentLifecycle), renderWork()];
  return `${before}${[BEGIN, ...sections, END].join('\n\n')}${after}`;
}

/** Batches and steps share one life, which is shown once for as long as that is so. */
function renderWork(): string {
  const [batch, step] = [batchLifecycle, stepLifecycle];
  const isShared =
    batch.initial === step.initial &&
    JSON.stringify([batch.final, batch.transitions]) ===
      JSON.stringify([step.final, step.transitions]);
  if (!isShared) return `${renderLifecycle(batch)}\n\n${renderLifecycle(step)}`;
  return renderLifecycle({ ...step, noun: 'batch, and of a step' });
}

function renderLifecycle<Status extends string, Trigger extends string>({
  noun,
  initial,
  final,
  transitions,
}: Lifecycle<Status, Trigger>): string {
  // Several ways between the same two are one arrow.
  const arrows = new Map<string, string[]>();
  for (const { from, event, to } of transitions) {
    const arrow = `${from} --> ${to}`;
    arrows.set(arrow, [...(arrows.get(arrow) ?? []), event]);
  }
  return [
    `The life of a ${noun}:`,
    '',
    '```mermaid',
    'stateDiagram-v2',
    `    [*] --> ${initial}`,
    ...[...arrows].map(([arrow, events]) => `    ${arrow}: ${events.join(', ')}`),
    ...final.map((status) => `    ${status} --> [*]`),
    '```',
    '',
    '| from | when | to |',
    '|---|---|---|',
    ...transitions.map(({ from, event, to }) => `| \`${from}\` | \`${event}\` | \`${to}\` |`),
  ].join('\n');
}
