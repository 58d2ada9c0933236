import type { StepRow } from '../../store/deployments.ts';

/**
 * Whether a step was left out because its server could not be reached (`unreachable=skip`). What is skipped after a
 * failure has no error of its own.
 */
export function isLeftOut({ status, error }: StepRow): boolean {
  return status === 'skipped' && error !== null;
}
