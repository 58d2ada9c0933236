import type { Duplex } from 'node:stream';
import { describeCheck, type HealthCheck, unhealthy } from '../../domain/health-check.ts';
import { checkScript } from '../../remote/check.ts';
import type { Connection } from '../../transport/connection.ts';
import { dialTcp } from '../../transport/dial.ts';
import { type Dial, probe } from '../../transport/probe.ts';
import { pause } from '../pause.ts';

/** What health checks look at, and who is told. */
export interface ChecksRun {
  readonly connection: Connection;
  /** The address by which a worker reaches the server. */
  readonly address: string;
  /** Path of the gitdeploy on the server. */
  readonly path: string;
  readonly signal: AbortSignal;
  readonly log: { write(text: string): void };
}

/**
 * Waits until each check has gone well, one after the other. They only look, so another worker may begin anew.
 * @throws {AppError} `unhealthy` for the first that does not in its time; what reaching the server throws
 */
export async function runChecks(checks: readonly HealthCheck[], run: ChecksRun): Promise<void> {
  for (const check of checks) {
    const looks = await becomeHealthy(check, run);
    run.log.write(
      `check: ${describeCheck(check)} went well after ${looks === 1 ? 'one look' : `${looks} looks`}\n`,
    );
  }
}

/** @returns how often was looked */
async function becomeHealthy(check: HealthCheck, run: ChecksRun): Promise<number> {
  const deadline = Date.now() + check.within * 1000;
  let inARow = 0;
  let lastSeen = 'nothing';
  for (let looks = 1; ; looks += 1) {
    const seen = await look(check, run);
    run.signal.throwIfAborted();
    if (seen === null) {
      inARow += 1;
      if (inARow >= check.healthy_after) return looks;
    } else {
      inARow = 0;
      if (seen !== lastSeen) run.log.write(`check: ${describeCheck(check)}: ${seen}\n`);
      lastSeen = seen;
    }
    const intervalMs = check.interval * 1000;
    if (Date.now() + intervalMs > deadline) {
      throw unhealthy(check, seen ?? `it went well, but only ${inARow} times in a row`);
    }
    await pause(intervalMs, run.signal);
    run.signal.throwIfAborted();
  }
}

/** @returns null if it went well, else what was seen */
async function look(check: HealthCheck, run: ChecksRun): Promise<string | null> {
  const { connection, signal } = run;
  const timeoutMs = check.timeout * 1000;
  if (check.type === 'command') {
    const script = checkScript({ command: check.command, path: connection.pathOn(run.path) });
    const timeout = AbortSignal.timeout(timeoutMs);
    try {
      // The check's own time is up before that of the script, so that one that hangs is told as what it is.
      const { exitCode, stdout, stderr } = await connection.run(script, {
        timeoutMs: timeoutMs * 2,
        signal: AbortSignal.any([signal, timeout]),
        asRoot: true,
        maxOutputBytes: 2000,
      });
      return exitCode === 0 ? null : `exit code ${exitCode}${lastLine(`${stdout}\n${stderr}`)}`;
    } catch (error) {
      signal.throwIfAborted();
      if (timeout.aborted) return `no end within ${check.timeout} seconds`;
      throw error;
    }
  }
  const timeout = AbortSignal.timeout(timeoutMs);
  const limited = AbortSignal.any([signal, timeout]);
  try {
    return await probe(check, dialFor(check.from, run), limited);
  } catch (error) {
    signal.throwIfAborted();
    if (timeout.aborted) return `no answer within ${check.timeout} seconds`;
    throw error;
  }
}

function dialFor(from: 'server' | 'worker', { connection, address }: ChecksRun): Dial {
  if (from === 'worker') return (port, signal) => dialTcp({ host: address, port, signal });
  return (port, signal): Promise<Duplex> => connection.forward({ host: '127.0.0.1', port, signal });
}

function lastLine(output: string): string {
  const line = output.trim().split('\n').at(-1)?.slice(0, 200) ?? '';
  return line === '' ? '' : `: ${line}`;
}
