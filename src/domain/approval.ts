import type { Batch } from './batches.ts';

/** Where a deployment waits for a user to say yes: nowhere, after the canary, or after every slice but the last. */
export const APPROVE_CHOICES = ['none', 'after_canary', 'each_slice'] as const;
export type Approve = (typeof APPROVE_CHOICES)[number];

/** Marks the batches after which a user must say yes. The canary is a slice, too; after the last batch there is nothing left to approve. */
export function withApprovals(batches: readonly Batch[], approve: Approve): Batch[] {
  return batches.map((batch, i) => {
    const next = batches[i + 1];
    const endsSlice = next !== undefined && next.slice !== batch.slice;
    const waits = endsSlice && (approve === 'each_slice' || batch.canary === true);
    return approve !== 'none' && waits ? { ...batch, approvalAfter: true } : batch;
  });
}
