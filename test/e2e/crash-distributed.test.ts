import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Lab, startLab } from '../chaos/lab.ts';
import {
  faultAt,
  freezeAt,
  killAt,
  killAtEach,
  randomRound,
  recordBoundaries,
} from '../chaos/rounds.ts';
import { requirePart } from '../support/parts.ts';

const available = requirePart('sshd') && requirePart('redis-server') && process.getuid?.() === 0;
// Bounds against waiting for ever, not measures.
const LONG_MS = 900_000;

/** What `npm run chaos` does at length: see docs/chaos.md. */
describe.skipIf(!available)(
  'a deployment with an API process and two workers ends as it would have',
  () => {
    let lab: Lab;
    let boundaries = 0;
    let kinds: readonly string[] = [];
    let builds = 0;
    const nextBuild = (): string => {
      builds += 1;
      return `build-${builds}`;
    };

    beforeAll(async () => {
      lab = await startLab({ mode: 'distributed', servers: 2, workers: 2, slices: 1 });
      const recorded = await recordBoundaries(lab, nextBuild());
      expect(recorded.violations).toEqual([]);
      boundaries = recorded.seen.length;
      kinds = [...new Set(recorded.seen.map(({ kind }) => kind))];
    }, LONG_MS);
    afterAll(() => lab.close(), LONG_MS);

    it(
      'whoever dies before or after a write, a command or a message',
      async () => {
        // Which messages of the queue there are is BullMQ's affair: a worker that is just done takes the next in one go.
        const message = kinds.find((kind) => kind.startsWith('after redis')) ?? 'after redis';
        const must = ['before server switch', 'after postgresql update steps', message];
        for (const kind of must) expect(kinds).toContain(kind);
        const met = inTurn(kinds);
        const rounds = await killAtEach(lab, nextBuild, met);
        expect(rounds.filter(({ violations }) => violations.length > 0)).toEqual([]);
        expect(rounds.flatMap(({ struck }) => struck).length).toBeGreaterThanOrEqual(met.length);
      },
      LONG_MS,
    );

    it(
      'after a short random schedule of kills and other faults',
      async () => {
        for (const seed of [11]) {
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

    it.each(['FLUSHALL', 'kill Redis'])(
      'after %s in the middle',
      async (name) => {
        const fault = { kind: 'before server switch', name };
        expect(await faultAt(lab, nextBuild(), fault)).toMatchObject({ violations: [] });
      },
      LONG_MS,
    );

    it(
      'though what it runs on a server outlives its worker, and is neither begun twice nor lost',
      async () => {
        const round = await killAt(lab, nextBuild(), new Set(['before server postpull #1']));
        expect(round).toMatchObject({ violations: [] });
      },
      LONG_MS,
    );

    it.each(['after server switch', 'before postgresql update steps'])(
      'though its worker slept %s for longer than its lease, and woke up too late',
      async (kind) => {
        expect(await freezeAt(lab, nextBuild(), kind)).toMatchObject({ violations: [] });
      },
      LONG_MS,
    );
  },
);

/**
 * Every command on a server before and after it; of writes and messages, which follow one another so closely that after the
 * one is nearly before the next, each kind in one of both ways, in turn.
 */
function inTurn(kinds: readonly string[]): string[] {
  const names = new Map<string, number>();
  for (const kind of kinds) {
    const name = kind.replace(/^(before|after) /, '');
    if (!names.has(name)) names.set(name, names.size);
  }
  return kinds.filter((kind) => {
    const [, moment, name = ''] = /^(before|after) (.*)$/.exec(kind) ?? [];
    if (moment === undefined || name.startsWith('server ')) return true;
    const other = moment === 'before' ? 'after' : 'before';
    const isMet = (names.get(name) ?? 0) % 2 === (moment === 'before' ? 0 : 1);
    return isMet || !kinds.includes(`${other} ${name}`);
  });
}
