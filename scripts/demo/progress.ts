import type { Terminal } from './terminal.ts';

/** Says what a step is at; the last one said stays in its line. */
export type Tell = (detail: string) => void;

/** What a step of the demo that failed was about; the cause says why. */
export class StepFailure extends Error {
  readonly step: string;

  constructor(step: string, cause: unknown) {
    super(cause instanceof Error ? cause.message : String(cause), { cause });
    this.step = step;
  }
}

/** The demo as it is told: headings, and steps with their outcome. */
export interface Progress {
  readonly terminal: Terminal;
  heading(text: string): void;
  /**
   * Does one step and shows it: moving while it runs, then with a mark and the time it took.
   * @throws {StepFailure} with what `work` threw as its cause
   */
  step<T>(title: string, work: (tell: Tell) => Promise<T>): Promise<T>;
}

const FRAMES = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'] as const;
const FRAME_MS = 100;
const TITLE_WIDTH = 15;
/** Times below it are noise. */
const TOLD_FROM_MS = 100;

/** Shows steps on a terminal. */
export function createProgress(terminal: Terminal): Progress {
  const { paint } = terminal;
  return {
    terminal,
    heading: (text) => {
      terminal.print();
      terminal.print(paint('bold', text));
    },
    step: async (title, work) => {
      const startedAt = performance.now();
      let detail = '';
      let frame = 0;
      const show = (): void => {
        const mark = paint('cyan', FRAMES[frame % FRAMES.length] ?? '');
        terminal.showLive([lineOf(mark, title, detail)]);
      };
      const timer = setInterval(() => {
        frame += 1;
        show();
      }, FRAME_MS);
      show();
      try {
        const result = await work((told) => {
          detail = told;
          show();
        });
        stop(timer, terminal);
        const time = paint('dim', toldTime(performance.now() - startedAt));
        terminal.print(`${lineOf(paint('green', '✓'), title, detail)}${time}`);
        return result;
      } catch (error) {
        stop(timer, terminal);
        terminal.print(lineOf(paint('red', '✗'), title, detail));
        throw new StepFailure(title, error);
      }
    },
  };
}

/** Seconds as people read them: `0.21 s`, `12.3 s`. */
export function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(ms < 10_000 ? 2 : 1)} s`;
}

function toldTime(ms: number): string {
  return ms < TOLD_FROM_MS ? '' : `  ${seconds(ms)}`;
}

function lineOf(mark: string, title: string, detail: string): string {
  return `  ${mark} ${title.padEnd(TITLE_WIDTH)} ${detail}`.trimEnd();
}

function stop(timer: NodeJS.Timeout, terminal: Terminal): void {
  clearInterval(timer);
  terminal.clearLive();
}
