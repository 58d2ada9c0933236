import { styleText } from 'node:util';

/** How a piece of text may look. */
export type Look = 'bold' | 'dim' | 'green' | 'red' | 'yellow' | 'cyan';

/** Where the demo speaks: lines that stay, and on a terminal a block below them that is redrawn in place. */
export interface Terminal {
  /** True on a terminal that can redraw; elsewhere every line is written once. */
  readonly isLive: boolean;
  paint(look: Look, text: string): string;
  print(line?: string): void;
  /** Draws the block, or redraws it with other lines. Does nothing where nothing can be redrawn. */
  showLive(lines: readonly string[]): void;
  /** Takes the block away; what is to stay is printed afterwards. */
  clearLive(): void;
}

/** The part of a stream that is written to. */
export interface Screen {
  readonly isTTY?: boolean;
  readonly rows?: number;
  write(text: string): unknown;
}

const HIDE_CURSOR = '\x1b[?25l';
const SHOW_CURSOR = '\x1b[?25h';
// Without it a line longer than the terminal would take two rows, and counting rows would go wrong.
const NO_WRAP = '\x1b[?7l';
const WRAP = '\x1b[?7h';
const ERASE_BELOW = '\x1b[J';

/** Colors and redrawing only where a person watches; NO_COLOR (https://no-color.org) is respected. */
export function createTerminal(
  screen: Screen = process.stdout,
  environment: NodeJS.ProcessEnv = process.env,
): Terminal {
  const { NO_COLOR = '', TERM = '' } = environment;
  const isLive = screen.isTTY === true && TERM !== 'dumb';
  const hasColors = isLive && NO_COLOR === '';
  let block: readonly string[] = [];

  const erase = (): string => (block.length === 0 ? '' : `\x1b[${block.length}A\r${ERASE_BELOW}`);
  const draw = (): string => block.map((line) => `${NO_WRAP}${line}${WRAP}\n`).join('');
  const clearLive = (): void => {
    if (block.length === 0) return;
    screen.write(`${erase()}${SHOW_CURSOR}`);
    block = [];
  };
  return {
    isLive,
    paint: (look, text) =>
      hasColors && text !== '' ? styleText(look, text, { validateStream: false }) : text,
    print: (line = '') => {
      screen.write(`${erase()}${line}\n${draw()}`);
    },
    showLive: (lines) => {
      if (!isLive) return;
      // What has scrolled out at the top cannot be redrawn.
      const fitting = lines.slice(0, Math.max(1, (screen.rows ?? 24) - 1));
      const before = erase();
      block = fitting;
      screen.write(`${HIDE_CURSOR}${before}${draw()}`);
    },
    clearLive,
  };
}
