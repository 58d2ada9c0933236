import { readFile, writeFile } from 'node:fs/promises';
import { type Figure, type Goal, isMet, type Row, type RowResult, type Table } from './row.ts';

/** A row's results with when and on what they were measured. */
export interface Measured {
  readonly row: Row;
  readonly result: RowResult;
  readonly date: string;
  readonly source: string;
}

/** A figure as the file keeps it. */
export interface KeptFigure {
  readonly row: number;
  readonly name: string;
  readonly value: number;
}

const BEGIN = (row: number): string => `<!-- row ${row} -->`;
const END = '<!-- end of row -->';
const FIGURE_COLUMNS = '| figure | goal | measured | met |';
/** What counts as worse than before. */
const REGRESSION = 1.2;

/** One row as the file has it, between its two marks. */
function rowText({ row, result, date, source }: Measured): string {
  return [
    BEGIN(row.number),
    `## ${row.number}. ${capitalized(row.work)}`,
    '',
    `Measured on ${date} with ${source}: \`npm run bench -- --rows ${row.number}\`.`,
    '',
    FIGURE_COLUMNS,
    '|---|---|---|---|',
    ...result.figures.map(figureLine),
    '',
    ...result.tables.flatMap(tableLines),
    ...result.notes.map((note) => `- ${note}`),
    ...(result.notes.length === 0 ? [] : ['']),
    END,
  ].join('\n');
}

/** A row as it is shown on the terminal. */
export function rowSummary({ row, result }: Measured): string {
  return [
    `${row.number}. ${row.work}`,
    ...result.figures.map((figure) => `   ${figureLine(figure)}`),
    ...result.tables.flatMap(tableLines).map((line) => `   ${line}`),
    ...result.notes.map((note) => `   - ${note}`),
  ].join('\n');
}

/** Puts rows in the place of the ones that the file has; others stay. Where it has none, they go where their number belongs. */
export async function writeResults(
  file: string,
  { rows, machine }: { readonly rows: readonly Measured[]; readonly machine: string },
): Promise<void> {
  const sections = new Map([...sectionsOf(await readText(file))]);
  for (const measured of rows) sections.set(measured.row.number, rowText(measured));
  const sorted = [...sections].sort(([a], [b]) => a - b).map(([, text]) => text);
  const head = [
    '# Results of the benchmarks',
    '',
    'Written by `npm run bench`, which measures Muster beside other programs, in turn, in one run on one machine: what counts are',
    'the ratios, the seconds are those of this machine. [docs/benchmarks.md](../docs/benchmarks.md) says how it is done.',
    '',
    `Machine: ${machine}.`,
    '',
    ...overview(sorted),
    '',
  ];
  await writeFile(file, `${[...head, sorted.join('\n\n')].join('\n')}\n`);
}

/** All figures that the file has. */
export async function readFigures(file: string): Promise<KeptFigure[]> {
  return [...sectionsOf(await readText(file))].flatMap(([row, text]) =>
    figuresOf(text).flatMap(({ name, measured }) => {
      const value = Number.parseFloat(measured);
      return Number.isFinite(value) ? [{ row, name, value }] : [];
    }),
  );
}

/** Sentences on figures that are more than a fifth worse than they were. */
export function findRegressions(
  measured: readonly Measured[],
  kept: readonly KeptFigure[],
): string[] {
  return measured.flatMap(({ row, result }) =>
    result.figures.flatMap((figure) => {
      const before = kept.find(({ row: of, name }) => of === row.number && name === figure.name);
      if (before === undefined || figure.value === null) return [];
      const isWorse =
        'atMost' in figure.goal
          ? figure.value > before.value * REGRESSION
          : figure.value < before.value / REGRESSION;
      if (!isWorse) return [];
      return [
        `Row ${row.number}, ${figure.name}: ${show(figure.value)} ${figure.unit}, and was ${show(before.value)} ${figure.unit}.`,
      ];
    }),
  );
}

function overview(sections: readonly string[]): string[] {
  const rows = sections.flatMap((text) => {
    const [, number = '', work = ''] = /^## (\d+)\. (.+)$/m.exec(text) ?? [];
    return figuresOf(text).map(
      ({ name, goal, measured, met }) =>
        `| ${number} | ${work} | ${name} | ${goal} | ${measured} | ${met} |`,
    );
  });
  return ['| # | work | figure | goal | measured | met |', '|---|---|---|---|---|---|', ...rows];
}

function* sectionsOf(text: string): Generator<[number, string]> {
  for (const [section, row] of text.matchAll(/<!-- row (\d+) -->[\s\S]*?<!-- end of row -->/g)) {
    yield [Number(row), section];
  }
}

function figuresOf(
  section: string,
): { name: string; goal: string; measured: string; met: string }[] {
  const lines = section.split('\n');
  const start = lines.indexOf(FIGURE_COLUMNS) + 2;
  const end = lines.indexOf('', start);
  return lines.slice(start, end).map((line) => {
    const [, name = '', goal = '', measured = '', met = ''] = line.split('|').map((c) => c.trim());
    return { name, goal, measured, met };
  });
}

function figureLine(figure: Figure): string {
  const { name, value, unit, goal, note } = figure;
  const measured = value === null ? '—' : `${show(value)} ${unit}`;
  const told = note === undefined ? '' : ` (${note})`;
  const met = { true: 'yes', false: '**no**', null: '—' }[`${isMet(figure)}`];
  return `| ${name} | ${showGoal(goal)} ${unit} | ${measured}${told} | ${met} |`;
}

function showGoal(goal: Goal): string {
  return 'atMost' in goal ? `≤ ${goal.atMost}` : `≥ ${goal.atLeast}`;
}

function tableLines({ title, columns, rows }: Table): string[] {
  return [
    `${title}:`,
    '',
    `| ${columns.join(' | ')} |`,
    `|${columns.map(() => '---').join('|')}|`,
    ...rows.map((row) => `| ${row.join(' | ')} |`),
    '',
  ];
}

function show(value: number): string {
  return value >= 100 ? value.toFixed(0) : value.toPrecision(3);
}

function capitalized(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

async function readText(file: string): Promise<string> {
  return readFile(file, 'utf8').catch(() => '');
}
