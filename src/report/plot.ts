/** How a piece of a plot is meant, so that a writer may colour it. */
export type Role = 'use' | 'over' | 'line' | 'mark' | 'axis';

/** Gives a piece of text its colour, or leaves it as it is. */
export type Paint = (text: string, role: Role) => string;

export interface AreaPlot {
  /** One value a column; NaN leaves the column empty. */
  readonly values: readonly number[];
  /** Horizontal lines with their label; cells above the first line's value are painted `over`. */
  readonly lines: readonly { readonly label: string; readonly value: number }[];
  /** Columns to mark below the plot. */
  readonly marks: readonly number[];
  /** Rows of the plot itself. */
  readonly height: number;
  /** Labels of the left edge. */
  readonly format: (value: number) => string;
  /** Labels below, spread over the width: first, middle ones, last. */
  readonly below: readonly string[];
}

const EIGHTHS = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/** An area over time with limit lines across it, as lines of text: value labels on the left, marks and times below. */
export function plotArea({ values, lines, marks, height, format, below }: AreaPlot, paint: Paint): string[] {
  const top =
    Math.max(...lines.map(({ value }) => value), ...values.filter((value) => Number.isFinite(value)), 1) * 1.02;
  const rowOf = (value: number): number => Math.min(height - 1, Math.floor((value / top) * height));
  const lineRows = Map.groupBy(lines, (line) => rowOf(line.value));
  const threshold = lines[0]?.value ?? Number.POSITIVE_INFINITY;
  const labels = Array.from({ length: height }, (_, row) => labelOf(row, lineRows, top, height, format));
  const gutter = Math.max(...labels.map((label) => label.length));

  const rows: string[] = [];
  for (let row = height - 1; row >= 0; row--) {
    let text = '';
    for (const value of values) {
      const eighths = Number.isFinite(value) ? Math.round((value / top) * height * 8) - row * 8 : 0;
      const isLine = lineRows.has(row);
      if (eighths >= 8) text += paint('█', (row / height) * top >= threshold ? 'over' : 'use');
      else if (isLine && eighths <= 4) text += paint('─', 'line');
      else if (eighths > 0) text += paint(EIGHTHS[eighths]!, value > threshold ? 'over' : 'use');
      else text += ' ';
    }
    rows.push(`${paint(labels[row]!.padStart(gutter), 'axis')} ${paint('┤', 'axis')}${text}`);
  }
  const indent = ' '.repeat(gutter + 1);
  rows.push(`${indent}${paint(`└${'─'.repeat(values.length)}`, 'axis')}`);
  if (marks.length > 0) {
    const marked = new Set(marks);
    rows.push(
      `${indent} ${paint(
        values
          .map((_, column) => (marked.has(column) ? '✕' : ' '))
          .join('')
          .trimEnd(),
        'mark',
      )}`,
    );
  }
  rows.push(`${indent} ${paint(spread(below, values.length), 'axis')}`);
  return rows;
}

function labelOf(
  row: number,
  lineRows: ReadonlyMap<number, AreaPlot['lines'][number][]>,
  top: number,
  height: number,
  format: (value: number) => string,
): string {
  const here = lineRows.get(row);
  if (here !== undefined) return `${here.map(({ label }) => label).join(', ')} ${format(here[0]!.value)}`;
  if (row === 0) return format(0);
  return row === Math.floor(height / 2) ? format((row / height) * top) : '';
}

/** Texts set evenly over a width: the first at its left edge, the last at its right. */
function spread(texts: readonly string[], width: number): string {
  let row = '';
  for (const [index, text] of texts.entries()) {
    const share = texts.length < 2 ? 0 : index / (texts.length - 1);
    const start = Math.max(row.length === 0 ? 0 : row.length + 1, Math.round(share * (width - text.length)));
    row = row.padEnd(start) + text;
  }
  return row;
}
