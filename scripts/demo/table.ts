import type { Look, Terminal } from './terminal.ts';

/** One field of a table. */
export interface Cell {
  readonly text: string;
  readonly look?: Look;
}

/** A table's head and rows; every row has as many cells as there are columns. */
export interface Table {
  readonly columns: readonly { readonly title: string; readonly align?: 'right' }[];
  readonly rows: readonly (readonly Cell[])[];
}

const GAP = '  ';

/** The lines of a table, every column as wide as its widest cell, indented as the demo's lines are. */
export function tableLines(table: Table, terminal: Pick<Terminal, 'paint'>): string[] {
  const widths = table.columns.map(({ title }, column) =>
    Math.max(title.length, ...table.rows.map((row) => row[column]?.text.length ?? 0)),
  );
  const head = table.columns.map(({ title }): Cell => ({ text: title, look: 'dim' }));
  return [head, ...table.rows].map((row) => {
    const cells = row.map(({ text, look }, column) => {
      const space = ' '.repeat((widths[column] ?? 0) - text.length);
      const painted = look === undefined ? text : terminal.paint(look, text);
      if (table.columns[column]?.align === 'right') return space + painted;
      // No blanks at the end of a line.
      return column === row.length - 1 ? painted : painted + space;
    });
    return `${GAP}${cells.join(GAP)}`;
  });
}
