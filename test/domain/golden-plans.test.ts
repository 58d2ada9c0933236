import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import type { Batch } from '../../src/domain/batches.ts';
import { planGroupBatches } from '../../src/domain/batches.ts';
import { writePlan } from './plan-notation.ts';

/*
 * Plans that were right once and have to stay so: each is a case of the table in API.md, a case that the old
 * system got wrong, or a bug that was found since.
 *
 * To add one, write a file with `title`, `source`, `input` and `summary`, the plan you expect in the notation of
 * API.md, then run this test once with GOLDEN_PLANS=add: it fills in `plan` where there is none, if the summary
 * agrees. A plan that is there is never written again; if a rule changes, delete it by hand and say why.
 */
const folder = new URL('golden-plans/', import.meta.url);
const mayAdd = process.env['GOLDEN_PLANS'] === 'add';

const goldenSchema = z.strictObject({
  title: z.string(),
  source: z.string(),
  input: z.strictObject({
    divisor: z.number(),
    rollingPauseSeconds: z.number(),
    orderedPauseSeconds: z.number(),
    groups: z.array(
      z.strictObject({
        name: z.string(),
        rolling: z.boolean(),
        servers: z.array(z.string()),
        levels: z.array(z.array(z.string())),
      }),
    ),
  }),
  summary: z.string(),
  plan: z
    .array(
      z.strictObject({
        index: z.number(),
        slice: z.number(),
        level: z.number(),
        ordered: z.boolean(),
        pauseAfterSeconds: z.number(),
        pairs: z.array(z.string()),
      }),
    )
    .optional(),
});

const files = readdirSync(folder).filter((file) => file.endsWith('.json'));

describe('golden plans', () => {
  it('are all there: the 8 rows of API.md, the 21 cases X1 to X20, and the old project’s own 6', () => {
    expect(files.length).toBeGreaterThanOrEqual(35);
  });

  it.each(files)('%s is planned as it was', (file) => {
    const url = new URL(file, folder);
    const golden = goldenSchema.parse(JSON.parse(readFileSync(url, 'utf8')));
    const batches = planGroupBatches(golden.input);
    const plan = batches.map(flatten);
    expect(writePlan(batches)).toBe(golden.summary);
    if (golden.plan === undefined && mayAdd) {
      writeFileSync(url, `${JSON.stringify({ ...golden, plan }, null, 2)}\n`);
      return;
    }
    expect(plan).toEqual(golden.plan);
  });
});

/** Pairs as `server/gitdeploy`, which no name can hold, to keep the files short. */
function flatten(batch: Batch): Record<string, unknown> {
  return { ...batch, pairs: batch.pairs.map((pair) => `${pair.server}/${pair.gitdeploy}`) };
}
