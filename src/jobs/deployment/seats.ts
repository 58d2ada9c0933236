import { progressOf } from '../../store/steps.ts';
import { openBarrier, type Seat } from './barrier.ts';
import type { StepWork } from './deployment-work.ts';

/** So long servers that are ready for their switch wait for one that is not. */
const WAIT_MS = 2000;
/** Each that waits keeps a channel of its server's connection, and the others of that server must have some, too. */
const MAX_OF_ONE_SERVER = 4;

/**
 * Which of these steps switch together, so that for as short as can be some servers have the new build and others the old
 * one. Not those that run something before their switch, as that may take any time; nor those of a server with very many.
 * @returns the seat of each step that does, by the step's id
 */
export function takeSeats(steps: readonly StepWork[]): ReadonlyMap<string, Seat> {
  const perServer = new Map<string, number>();
  for (const { server } of steps) perServer.set(server.id, (perServer.get(server.id) ?? 0) + 1);
  const together = steps.filter(
    (item) => switchesAtOnce(item) && (perServer.get(item.server.id) ?? 0) <= MAX_OF_ONE_SERVER,
  );
  if (together.length < 2) return new Map();
  const take = openBarrier(together.length, WAIT_MS);
  return new Map(together.map(({ step }) => [step.id, take()]));
}

/** Whether the switch is the first thing that a step does. */
function switchesAtOnce({ gitdeploy, step }: StepWork): boolean {
  const { stage } = progressOf(step) ?? { stage: 'prepull' };
  return Object.keys(gitdeploy.actions.prepull).length === 0 && stage === 'prepull';
}
