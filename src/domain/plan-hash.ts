import { createHash } from 'node:crypto';
import { AppError } from './errors.ts';

/** What a plan rests on, by part. Whatever can be written as JSON, in an order that does not depend on chance. */
export interface PlanFacts {
  /** The build, and the trees of the packages that are deployed. */
  readonly build: unknown;
  readonly options: unknown;
  readonly batches: unknown;
  /** Packages, paths, branches, actions and so on of the gitdeploys. */
  readonly gitdeploys: unknown;
  /** The heads of the branches that are committed to. */
  readonly commits: unknown;
  /** What each server has now. */
  readonly servers: unknown;
}

/** In the order in which they stand in a hash. */
const PARTS = [
  'build',
  'options',
  'batches',
  'gitdeploys',
  'commits',
  'servers',
] as const satisfies readonly (keyof PlanFacts)[];
export type PlanPart = (typeof PARTS)[number];

const IN_WORDS: Readonly<Record<PlanPart, string>> = {
  build: 'the build or its packages',
  options: 'the options of the deployment',
  batches: 'which servers go in which batch',
  gitdeploys: 'the settings of a gitdeploy',
  commits: 'the head of a gitrepo',
  servers: 'what a server has',
};

const PART_LENGTH = 12;
export const PLAN_HASH_PATTERN = /^v1(?:-[0-9a-f]{12}){6}$/;

/**
 * A name for exactly this plan: each part has its own digest, so that two hashes tell what differs.
 * @returns as in `PLAN_HASH_PATTERN`
 */
export function hashPlan(facts: PlanFacts): string {
  const digests = PARTS.map((part) =>
    createHash('sha256').update(JSON.stringify(facts[part])).digest('hex').slice(0, PART_LENGTH),
  );
  return ['v1', ...digests].join('-');
}

/** @returns the parts in which two plans differ */
function changedParts(before: string, after: string): PlanPart[] {
  const [, ...old] = before.split('-');
  const [, ...now] = after.split('-');
  return PARTS.filter((_part, i) => old[i] !== now[i]);
}

/** @throws {AppError} `plan_changed` unless the plan is the one that was expected */
export function requireSamePlan(expected: string, present: string): void {
  const changed = changedParts(expected, present);
  if (changed.length === 0) return;
  throw new AppError(
    'plan_changed',
    `The plan is no longer the one of this \`plan_hash\`; changed since: ${changed.map((part) => IN_WORDS[part]).join(', ')}. Look at it once more with \`dry_run=true\`, and deploy with the \`plan_hash\` that it gives.`,
    { details: { changed, plan_hash: present } },
  );
}
