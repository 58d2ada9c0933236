import { getOrAdd } from '../domain/get-or-add.ts';
import type { CommitTrees } from './commit-trees.ts';
import { EMPTY_TREE } from './git.ts';
import type { PackForm } from './packs.ts';
import { bytesBrought, type TreeDiff } from './trees.ts';

/** Who is to have which commit. */
export interface PackFormRequest {
  readonly applicationId: string;
  readonly want: string;
  /** A commit that the receiver has with everything in it, or null if it has nothing. */
  readonly have: string | null;
  /** Whether bytes cost the receiver less than work. */
  readonly isNear: boolean;
}

/**
 * Up to so many bytes of new and changed files, a receiver that is near gets them whole: to take them out of a thin pack
 * costs it several times as much as to receive them.
 */
const MAX_QUICK_BYTES = 8 * 1024 ** 2;

/**
 * Chooses the form in which a pack costs its receiver the least time. Where it has nothing yet, a thin pack would be no
 * smaller.
 */
export function makePackFormChooser(of: {
  readonly trees: Pick<CommitTrees, 'of'>;
  readonly diffTrees: (o: {
    readonly applicationId: string;
    readonly from: string;
    readonly to: string;
  }) => Promise<TreeDiff>;
}): (o: PackFormRequest) => Promise<PackForm> {
  /** All servers of a deployment ask at once. */
  const asked = new Map<string, Promise<PackForm>>();

  async function choose({ applicationId, want, have, isNear }: PackFormRequest): Promise<PackForm> {
    const whole = isNear ? 'quick' : 'indexed';
    if (have === null) return whole;
    const from = await of.trees.of(applicationId, have);
    if (from === EMPTY_TREE) return whole;
    if (!isNear) return 'thin';
    const diff = await of.diffTrees({ applicationId, from, to: want });
    return bytesBrought(diff) <= MAX_QUICK_BYTES ? 'quick' : 'thin';
  }

  return async (o) => {
    const key = `${o.applicationId} ${o.want} ${o.have ?? ''} ${o.isNear ? 'near' : 'far'}`;
    return await getOrAdd(asked, key, () => choose(o).finally(() => asked.delete(key)));
  };
}
