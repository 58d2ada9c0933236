import { setTimeout as sleep } from 'node:timers/promises';
import { faultsOf, type RandomFault } from './faults.ts';
import type { Boundary, SeenBoundary, Verdict } from './gate.ts';
import { findViolations, type Violations } from './invariants.ts';
import { type Lab, LEASE_SECONDS } from './lab.ts';
import { createRandom } from './random.ts';

/** What came of one round. */
export interface Round {
  readonly what: string;
  /** The boundaries at which somebody was killed. */
  readonly struck: readonly string[];
  readonly violations: Violations;
  readonly seconds: number;
}

const MAX_RETRIES = 5;

/** Deploys the next build while nothing is harmed. @returns the boundaries that there are */
export async function recordBoundaries(
  lab: Lab,
  build: string,
): Promise<Round & { readonly seen: readonly SeenBoundary[] }> {
  let seen: readonly SeenBoundary[] = [];
  const round = await runRound(lab, build, 'undisturbed', async (deploy) => {
    lab.gate.arm({ at: () => false, strike: () => Promise.resolve('go') });
    await deploy();
    seen = lab.gate.disarm();
    return {};
  });
  return { ...round, seen };
}

/**
 * Deploys the next build and kills whoever is at one of these boundaries, `kinds` or `labels`, at each of them once.
 * What is not come by is left in the set.
 */
export async function killAt(lab: Lab, build: string, wanted: Set<string>): Promise<Round> {
  return await runRound(lab, build, `kill ${[...wanted].join(', ')}`, async (deploy) => {
    // What runs on a server outlives its worker, and the next one comes while it still runs.
    const isLong = wanted.size === 1 && [...wanted].some((one) => /(prepull|postpull)/.test(one));
    if (isLong) await prolongActions(lab, LONG_ACTION_SECONDS);
    const replacing: Promise<void>[] = [];
    lab.gate.arm({
      at: ({ kind, label }) => wanted.delete(kind) || wanted.delete(label),
      strike: killer(lab, replacing),
    });
    await deploy();
    lab.gate.disarm();
    await Promise.all(replacing);
    return {};
  });
}

/** Kills in one deployment: with more it would hardly get further in between. */
const KILLS_PER_ROUND = 7;

/** Kills whoever is at a boundary of each of these kinds, once, in as few deployments as will do. */
export async function killAtEach(
  lab: Lab,
  nextBuild: () => string,
  kinds: readonly string[],
): Promise<readonly Round[]> {
  const done: Round[] = [];
  let missing: readonly string[] = kinds;
  let atOnce = KILLS_PER_ROUND;
  while (missing.length > 0) {
    const missed: string[] = [];
    // Those of one deployment are spread over its whole length.
    const rounds = Math.ceil(missing.length / atOnce);
    for (let round = 0; round < rounds; round += 1) {
      const wanted = new Set(missing.filter((_, index) => index % rounds === round));
      done.push(await killAt(lab, nextBuild(), wanted));
      missed.push(...wanted);
    }
    // What did not come by while others were dying comes with fewer of them, and at last gets a deployment of its own.
    if (atOnce === 1) break;
    atOnce = missed.length < missing.length / 2 ? atOnce : 1;
    missing = missed;
  }
  return done;
}

/** A round of kills and other faults that the seed decides. `boundaries`: about how many there are to choose from. */
export async function randomRound(
  lab: Lab,
  build: string,
  { seed, boundaries }: { readonly seed: number; readonly boundaries: number },
): Promise<Round> {
  const random = createRandom(seed);
  const kills = new Set(
    Array.from({ length: random.whole(4) }, () => 1 + random.whole(boundaries)),
  );
  const faults: (RandomFault & { readonly afterMs: number })[] = Array.from(
    { length: (kills.size === 0 ? 1 : 0) + random.whole(3) },
    () => ({ ...random.pick(faultsOf(lab)), afterMs: random.between(0, 4000) }),
  );
  const names = faults.map(({ name, afterMs }) => `${name} (${Math.round(afterMs)} ms)`);
  const what = `seed ${seed}: ${[...names, `kills at ${[...kills].join(', ') || 'no'} boundary`].join('; ')}`;
  return await runRound(lab, build, what, async (deploy) => {
    if (random.whole(4) === 0) await prolongActions(lab, LONG_ACTION_SECONDS);
    const replacing: Promise<void>[] = [];
    lab.gate.arm({ at: ({ index }) => kills.has(index), strike: killer(lab, replacing) });
    const over = new AbortController();
    const happening = Promise.allSettled(
      faults.map(async (fault) => {
        await sleep(fault.afterMs, undefined, { signal: over.signal }).catch(() => undefined);
        if (!over.signal.aborted) await fault.happen(lab, random);
      }),
    );
    try {
      await deploy();
    } finally {
      // Also if the deployment does not end: nothing may go on behind the back of what comes next.
      over.abort();
      lab.gate.disarm();
      await Promise.allSettled(replacing);
    }
    const failed = (await happening).find((one) => one.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
    return { harmed: faults.some(({ harmsServers }) => harmsServers) };
  });
}

/** Longer than it takes until another worker has the job. */
const LONG_ACTION_SECONDS = LEASE_SECONDS * 2;

/** Lets prepull and postpull take so long in this round. */
async function prolongActions(lab: Lab, seconds: number): Promise<void> {
  for (const server of lab.servers) {
    await lab.fleet.inspect(server, `echo ${seconds} >/opt/marks/seconds`);
  }
}

/** Kills whose act it is, and starts another one in its place. */
function killer(lab: Lab, replacing: Promise<void>[]): (boundary: Boundary) => Promise<Verdict> {
  return async ({ victim, source }) => {
    const pid = await victim().catch(() => null);
    if (pid !== null) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // Gone already.
      }
      replacing.push(lab.replace(pid));
    }
    // What a server was told it does; what has not left the dead never comes.
    return source === 'server' ? 'go' : 'drop';
  };
}

async function runRound(
  lab: Lab,
  build: string,
  what: string,
  run: (deploy: () => Promise<void>) => Promise<{ readonly harmed?: boolean }>,
): Promise<Round> {
  const start = performance.now();
  await lab.repair();
  await lab.makeBuild(build);
  for (const server of lab.servers) await lab.fleet.inspect(server, 'rm -f /opt/marks/*');
  lab.expectedCommits += 1;
  let deploymentId = '';
  const { harmed = false } = await run(async () => {
    deploymentId = await lab.deploy(build);
    await lab.untilOver(deploymentId);
  });
  await lab.repair();
  let { status } = await lab.untilOver(deploymentId);
  // What failed because a server was harmed ends well once it is whole.
  for (let tries = 0; harmed && status === 'failed' && tries < MAX_RETRIES; tries += 1) {
    await lab.act(deploymentId, 'retry');
    status = (await lab.untilOver(deploymentId)).status;
  }
  const violations = await findViolations(lab, {
    deploymentId,
    build,
    wasRetried: harmed,
    serversHarmed: harmed,
  });
  const { struck } = lab.gate;
  return { what, struck, violations, seconds: (performance.now() - start) / 1000 };
}

/** Deploys the next build; at a boundary of this kind a fault happens, while what is under way there waits for it. */
export async function faultAt(
  lab: Lab,
  build: string,
  { kind, name }: { readonly kind: string; readonly name: string },
): Promise<Round> {
  const fault = faultsOf(lab).find((one) => one.name === name);
  if (fault === undefined) throw new Error(`There is no fault named ${name}.`);
  return await runRound(lab, build, `${name} ${kind}`, async (deploy) => {
    const wanted = new Set([kind]);
    lab.gate.arm({
      at: (seen) => wanted.delete(seen.kind),
      strike: async () => {
        await fault.happen(lab, createRandom(1));
        return 'go';
      },
    });
    await deploy();
    lab.gate.disarm();
    return { harmed: fault.harmsServers };
  });
}

/**
 * Deploys the next build and freezes who runs it at a boundary of this kind, what it does there included, until another
 * worker has ended the deployment; then lets it wake up and waits until it knows.
 */
export async function freezeAt(lab: Lab, build: string, kind: string): Promise<Round> {
  return await runRound(lab, build, `freeze ${kind}`, async (deploy) => {
    const wanted = new Set([kind]);
    const over = new AbortController();
    const frozen: { pid: number | null } = { pid: null };
    lab.gate.arm({
      at: (seen) => wanted.delete(seen.kind),
      strike: async ({ victim }) => {
        frozen.pid = await victim();
        if (frozen.pid === null) return 'go';
        process.kill(frozen.pid, 'SIGSTOP');
        await sleep(FROZEN_MS, undefined, { signal: over.signal }).catch(() => undefined);
        return 'go';
      },
    });
    await deploy();
    over.abort();
    lab.gate.disarm();
    if (frozen.pid === null) throw new Error(`Nobody was frozen ${kind}.`);
    // From here on: all output is too much to be kept, and an older worker's words must not count.
    const said = lab.listen();
    process.kill(frozen.pid, 'SIGCONT');
    const end = performance.now() + FROZEN_MS;
    while (!SAYS_LATE.test(said())) {
      if (performance.now() > end) {
        throw new Error(`The frozen worker does not see that it is late.\n${said()}`);
      }
      await sleep(20);
    }
    return {};
  });
}

const FROZEN_MS = 120_000;

/** What a worker says that came too late. */
const SAYS_LATE = /the job was taken by another worker|job interrupted/;
