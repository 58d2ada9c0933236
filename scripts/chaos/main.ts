import { startLab } from '../../test/chaos/lab.ts';
import { killAt, type Round, randomRound, recordBoundaries } from '../../test/chaos/rounds.ts';
import { sshFleetAvailable } from '../fleet/ssh-fleet.ts';
import { type ChaosOptions, HELP, readOptions } from './options.ts';
import { writeReport } from './report.ts';

const options = readFromCommandLine();
const { available, reason } = await sshFleetAvailable();
if (!available) throw new Error(reason);
const stopping = new AbortController();
process.once('SIGINT', () => stopping.abort());

const lab = await startLab(options);
const rounds: Round[] = [];
let build = 0;
const nextBuild = (): string => {
  build += 1;
  return `build-${build}`;
};
const tell = (round: Round): void => {
  rounds.push(round);
  const verdict = round.violations.length === 0 ? 'ok' : 'WRONG';
  const struck = round.struck.length === 0 ? '' : ` [${round.struck.join(', ')}]`;
  process.stdout.write(`${verdict} ${round.seconds.toFixed(1)} s ${round.what}${struck}\n`);
  for (const violation of round.violations) process.stdout.write(`   ${violation}\n`);
};
const attempt = async (what: string, run: () => Promise<Round>): Promise<void> => {
  const start = performance.now();
  try {
    tell(await run());
  } catch (error) {
    const seconds = (performance.now() - start) / 1000;
    tell({ what, struck: lab.gate.struck, violations: [String(error)], seconds });
    // Whatever was in the way, the next round begins with all of it there.
    lab.gate.disarm();
    throw error;
  }
};
try {
  const recorded = await recordBoundaries(lab, nextBuild());
  tell(recorded);
  const every = options.everyPoint ?? Number.POSITIVE_INFINITY;
  const labels = recorded.seen.filter((_, index) => (index + 1) % every === 0);
  for (const { label } of labels) {
    if (stopping.signal.aborted) break;
    await attempt(label, () => killAt(lab, nextBuild(), new Set([label])));
  }
  const boundaries = recorded.seen.length;
  for (let i = 0; i < options.rounds && !stopping.signal.aborted; i += 1) {
    const seed = options.seed + i;
    await attempt(`seed ${seed}`, () => randomRound(lab, nextBuild(), { seed, boundaries }));
  }
} catch (error) {
  process.stdout.write(`${String(error)}\n${lab.output().slice(-60_000)}\n`);
  process.exitCode = 1;
} finally {
  await lab.close();
}
const wrong = rounds.filter(({ violations }) => violations.length > 0).length;
process.stdout.write(`${rounds.length} rounds, ${wrong} of them wrong\n`);
if (wrong > 0) process.exitCode = 1;
if (options.report !== null) await writeReport(options.report, { mode: options.mode, rounds });
// Whatever a broken-off round has left open must not keep this process.
process.exit();

function readFromCommandLine(): ChaosOptions {
  try {
    const read = readOptions(process.argv.slice(2));
    if (read !== 'help') return read;
    console.log(HELP);
    return process.exit(0);
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : String(error)}\n\n${HELP}`);
    return process.exit(2);
  }
}
