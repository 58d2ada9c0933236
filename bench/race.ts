import type { Bench } from './bench.ts';
import { type Breakdown, readBreakdown } from './muster/breakdown.ts';
import type { Contestant } from './peers/contestant.ts';
import { type Figure, type Table, table } from './row.ts';
import type { Site } from './site.ts';
import { median, medianRatio, summary } from './statistics.ts';

const HOPELESS = 3;

/** What each contestant's ways took, in milliseconds, in the order of the repetitions. */
export interface Race {
  readonly times: ReadonlyMap<string, ReadonlyMap<string, readonly number[]>>;
  /** Where the time of each of Muster's deliveries went. */
  readonly breakdowns: readonly Breakdown[];
  /** Sentences on those who gave up. */
  readonly failures: readonly string[];
}

/**
 * Has all contestants do the same work in turn, as often as is asked for; in each repetition another one begins. A way
 * that takes three times as long as another one of the same contestant is done once. Who fails is out, and the reason is
 * kept.
 */
export async function race(
  bench: Bench,
  site: Site,
  work: {
    readonly repetitions: number;
    readonly ways: (contestant: Contestant) => readonly {
      readonly name: string;
      /** @returns milliseconds */
      readonly run: () => Promise<number>;
    }[];
  },
): Promise<Race> {
  const contestants = [site.us, ...site.peers];
  const times = new Map(contestants.map(({ name }) => [name, new Map<string, number[]>()]));
  const breakdowns: Breakdown[] = [];
  const failures: string[] = [];
  const out = new Set<Contestant>();
  for (let repetition = 0; repetition < work.repetitions; repetition += 1) {
    for (let turn = 0; turn < contestants.length; turn += 1) {
      const contestant = contestants[(repetition + turn) % contestants.length];
      if (contestant === undefined || out.has(contestant)) continue;
      bench.signal.throwIfAborted();
      try {
        const ofWays = times.get(contestant.name) ?? new Map<string, number[]>();
        for (const way of work.ways(contestant)) {
          if (isHopeless(ofWays, way.name)) continue;
          const tookMs = await way.run();
          ofWays.set(way.name, [...(ofWays.get(way.name) ?? []), tookMs]);
          if (contestant !== site.us) continue;
          const id = site.us.deployments.at(-1);
          if (id !== undefined) breakdowns.push(await readBreakdown(site.muster, id, tookMs));
        }
      } catch (error) {
        if (contestant === site.us) throw error;
        out.add(contestant);
        times.delete(contestant.name);
        failures.push(`${contestant.name} is out: ${String(error).slice(0, 400)}`);
        bench.say(failures.at(-1) ?? '');
      }
    }
  }
  return { times, breakdowns, failures };
}

/** Whether one way of a contestant was so much slower at first than another that it need not be tried again. */
function isHopeless(ways: ReadonlyMap<string, readonly number[]>, name: string): boolean {
  const [first] = ways.get(name) ?? [];
  const others = [...ways.values()].flatMap((times) => times[0] ?? []);
  return first !== undefined && first > HOPELESS * Math.min(...others);
}

/** A contestant's times by its fastest way. */
function fastest(race: Race, name: string): readonly number[] | null {
  const ways = [...(race.times.get(name)?.values() ?? [])].filter((times) => times.length > 0);
  return ways.sort((a, b) => median(a) - median(b))[0] ?? null;
}

/** Muster's time by that of each peer's fastest way; the note has the others. */
export function ratioFigures(
  race: Race,
  us: string,
  goals: readonly { readonly peer: string; readonly atMost: number }[],
): Figure[] {
  const ours = fastest(race, us);
  return goals.map(({ peer, atMost }) => {
    const theirs = fastest(race, peer);
    return {
      name: `time by that of ${peer}`,
      value: ours === null || theirs === null ? null : medianRatio(ours, theirs),
      unit: '×',
      goal: { atMost },
      note: theirs === null ? `${peer} was not measured` : describeWays(race, peer, ours ?? []),
    };
  });
}

function describeWays(race: Race, peer: string, ours: readonly number[]): string {
  const ways = [...(race.times.get(peer) ?? [])].map(
    ([way, times]) => `${way}: ${medianRatio(ours, times).toPrecision(3)}`,
  );
  return ways.join(', ');
}

/** Muster's time by that of the fastest peer. */
export function ratioToFastest(race: Race, us: string, atMost: number): Figure {
  const ours = fastest(race, us);
  const others = [...race.times.keys()].filter((name) => name !== us);
  const measured = others.flatMap((name) => {
    const times = fastest(race, name);
    return times === null ? [] : [{ name, times }];
  });
  const [best] = measured.sort((a, b) => median(a.times) - median(b.times));
  return {
    name: 'time by that of the fastest peer',
    value: ours === null || best === undefined ? null : medianRatio(ours, best.times),
    unit: '×',
    goal: { atMost },
    note: best === undefined ? 'no peer was measured' : `the fastest is ${best.name}`,
  };
}

export function timesTable(race: Race): Table {
  const rows = [...race.times].flatMap(([name, ways]) =>
    [...ways].map(([way, times]) => [name, way, summary(times.map((ms) => ms / 1000))]),
  );
  return table('Seconds, median (least – greatest)', ['program', 'way', 'seconds'], rows);
}

export function breakdownTable(title: string, breakdowns: readonly Breakdown[]): Table {
  const phases = [...new Set(breakdowns.flatMap((one) => [...one.keys()]))];
  const rows = phases.map((phase) => [
    phase,
    summary(
      breakdowns.flatMap((one) => one.get(phase) ?? []),
      0,
    ),
  ]);
  return table(title, ['phase', 'milliseconds'], rows);
}
