import { cutText, type TextPiece } from './text-pieces.ts';

/** A line that may be the answer is held back, but no more than this of it. */
const MAX_ANSWER_BYTES = 1_048_576;
const LINE_END = 0x0a;
const BRACE = 0x7b;

/** Passes output on as it comes, save a last line that looks like an answer and the line end that states put before it. */
export function holdBackAnswer(onText: (piece: TextPiece) => void): {
  push(bytes: Buffer): void;
  end(): void;
} {
  let held: Buffer = Buffer.alloc(0);
  const pass = (end: number): void => {
    for (const piece of cutText(held.subarray(0, end))) {
      onText(piece);
      held = held.subarray(piece.bytes);
    }
  };
  return {
    push: (bytes) => {
      held = Buffer.concat([held, bytes]);
      const start = held.length < 2 ? 0 : Math.max(0, held.lastIndexOf(LINE_END, -2));
      const first = held[start] === LINE_END ? start + 1 : start;
      const mayBeAnswer = first >= held.length || held[first] === BRACE;
      if (mayBeAnswer && held.length - start < MAX_ANSWER_BYTES) pass(start);
      // An empty line at the end may be the line end before the answer.
      else pass(held[first] === LINE_END ? first : held.length);
    },
    end: () => {
      if (/^\n?\{"ok":.*\}\n?$/s.test(held.toString('utf8'))) return;
      pass(held.length);
      // What is left is part of a character that never came.
      if (held.length > 0) onText({ text: held.toString('utf8'), bytes: held.length });
    },
  };
}
