import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Lab, startLab } from '../chaos/lab.ts';
import { faultAt, killAtEach, randomRound, recordBoundaries } from '../chaos/rounds.ts';
import { requirePart } from '../support/parts.ts';

const available = requirePart('sshd') && requirePart('redis-server') && process.getuid?.() === 0;
// Bounds against waiting for ever, not measures.
const LONG_MS = 900_000;

/** What `npm run chaos` does at length: see docs/chaos.md. */
describe.skipIf(!available)('a deployment in one process ends as it would have', () => {
  let lab: Lab;
  let boundaries = 0;
  let kinds: readonly string[] = [];
  let builds = 0;
  const nextBuild = (): string => {
    builds += 1;
    return `build-${builds}`;
  };

  beforeAll(async () => {
    lab = await startLab({ mode: 'embedded', servers: 2, workers: 2, slices: 2 });
    const recorded = await recordBoundaries(lab, nextBuild());
    expect(recorded.violations).toEqual([]);
    boundaries = recorded.seen.length;
    kinds = [...new Set(recorded.seen.map(({ kind }) => kind))];
  }, LONG_MS);
  afterAll(() => lab.close(), LONG_MS);

  it(
    'whoever dies before or after a command on a server',
    async () => {
      const must = ['before server switch', 'after server postpull'];
      for (const kind of must) expect(kinds).toContain(kind);
      const rounds = await killAtEach(lab, nextBuild, kinds);
      expect(rounds.filter(({ violations }) => violations.length > 0)).toEqual([]);
      expect(rounds.flatMap(({ struck }) => struck).length).toBeGreaterThanOrEqual(kinds.length);
    },
    LONG_MS,
  );

  it(
    'after a short random schedule of kills and other faults',
    async () => {
      for (const seed of [21]) {
        const round = await randomRound(lab, nextBuild(), { seed, boundaries });
        expect(round).toMatchObject({ violations: [] });
      }
    },
    LONG_MS,
  );

  it(
    'after PostgreSQL was killed in the middle',
    async () => {
      const fault = { kind: 'before server switch', name: 'kill PostgreSQL' };
      expect(await faultAt(lab, nextBuild(), fault)).toMatchObject({ violations: [] });
    },
    LONG_MS,
  );
});
