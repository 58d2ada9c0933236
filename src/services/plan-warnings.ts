import { canarySize } from '../domain/canary.ts';
import type { DeploymentOptions } from '../domain/deployment-options.ts';
import type { DeploymentTarget } from '../domain/deployment-target.ts';
import { AppError } from '../domain/errors.ts';
import { longestFreeze } from '../domain/gates.ts';
import type { TargetWarning } from '../domain/group-target.ts';
import type { Db } from '../store/database.ts';
import { findFreezeWindows } from '../store/freeze-windows.ts';

/** What a user should know of a plan, though it can be deployed. */
export interface PlanWarning extends Omit<TargetWarning, 'code'> {
  readonly code: TargetWarning['code'] | 'canary_of_all' | 'frozen';
}

/** Options of a canary without one mean that something was forgotten. @throws {AppError} `invalid_input` */
export function requireCanaryFor({ canary, canary_pause, approve }: DeploymentOptions): void {
  if (canary !== null) return;
  const [needy] = [
    ...(approve === 'after_canary' ? ['approve=after_canary'] : []),
    ...(canary_pause > 0 ? ['canary_pause'] : []),
  ];
  if (needy === undefined) return;
  throw new AppError(
    'invalid_input',
    `\`${needy}\` needs a \`canary\`; say how many servers go first, such as \`canary=1\` or \`canary=10%\`.`,
    { details: { parameter: 'canary' } },
  );
}

/** Warnings of the target, and those of its options and of the present moment. */
export async function warningsOf(
  db: Db,
  target: DeploymentTarget,
  plan: { readonly options: DeploymentOptions; readonly environments: readonly string[] },
): Promise<PlanWarning[]> {
  const { options, environments } = plan;
  const warnings: PlanWarning[] = [...target.warnings];
  const { canary } = options;
  if (canary !== null && canarySize(canary, target.servers.length) === 0) {
    const asked = options.approve === 'after_canary' ? ', and nobody is asked for an approval' : '';
    warnings.push({
      code: 'canary_of_all',
      message: `A canary of ${canary} would be of all servers, so there is none${asked}.`,
      subject: canary,
    });
  }
  const frozen = options.override_freeze
    ? null
    : longestFreeze(await findFreezeWindows(db, environments), new Date());
  if (frozen?.kind === 'freeze') {
    warnings.push({
      code: 'frozen',
      message: `Environment \`${frozen.environment}\` is frozen by \`${frozen.freeze_window}\` until ${frozen.until}; what has servers there waits for that.`,
      subject: frozen.environment,
    });
  }
  return warnings;
}
