import { PID_LINE_PATTERN } from './quote.ts';

/** Before the pid line this much of stderr is waited for; a login shell's own start-up may write before it. */
const MAX_BEFORE_PID_LINE = 8192;

/** What reads a script's stderr up to the line with its process id. */
export interface PidLineTaker {
  /** Undefined until the line has come. */
  readonly value: string | undefined;
  push(chunk: Buffer): void;
  end(): void;
}

/** Takes the line with the script's process id out of its stderr, and passes everything else on. */
export function takePidLine(
  pass: (chunk: Buffer) => void,
  onPid: () => void = () => {},
): PidLineTaker {
  let held: Buffer | undefined = Buffer.alloc(0);
  let value: string | undefined;
  const release = (rest: Buffer): void => {
    held = undefined;
    if (rest.length > 0) pass(rest);
  };
  return {
    get value() {
      return value;
    },
    push: (chunk) => {
      if (held === undefined) {
        pass(chunk);
        return;
      }
      held = Buffer.concat([held, chunk]);
      const text = held.toString('latin1');
      const found = PID_LINE_PATTERN.exec(text);
      if (found !== null) {
        value = found[1];
        onPid();
        const { length } = found[0];
        release(
          Buffer.from(text.slice(0, found.index) + text.slice(found.index + length), 'latin1'),
        );
      } else if (held.length > MAX_BEFORE_PID_LINE) release(held);
    },
    end: () => {
      if (held !== undefined) release(held);
    },
  };
}
