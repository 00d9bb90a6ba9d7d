import { TraceError } from './errors.ts';
import type { Row } from './csv.ts';
import { shown } from './csv.ts';
import { StampedSamples } from './stamped.ts';
import type { TimeColumn } from './vocabulary.ts';
import { MOST_BYTES, type Trace } from './trace.ts';
import { int32s } from './columns.ts';

/** Rows in one block: small enough that a block of a thousand columns is a megabyte, and growth copies nothing. */
const BLOCK_ROWS = 256;

/** One wide file: a row a moment, a column a container. */
interface WideFile {
  readonly series: Int32Array;
  readonly blocks: Float32Array[];
  readonly timesMs: number[];
}

/** Gathers wide files, one after another in time: the next begins one step after the last row of the one before. */
export class WideSamples {
  readonly names: string[] = [];
  readonly #index = new Map<string, number>();
  readonly #files: WideFile[] = [];

  /** Begins a file; returns what takes its rows. */
  file(name: string, columns: readonly string[], time: TimeColumn, unitBytes: number): (row: Row) => void {
    const containers = columns.flatMap((column, index) => (index === time.index ? [] : [{ column, index }]));
    const series = new Int32Array(containers.length);
    const seen = new Set<string>();
    for (const [position, { column }] of containers.entries()) {
      if (column === '') throw new TraceError(name, 1, `column ${containers[position]!.index + 1} has no name`);
      if (seen.has(column)) throw new TraceError(name, 1, `two columns are called "${shown(column)}"`);
      seen.add(column);
      let index = this.#index.get(column);
      if (index === undefined) {
        index = this.names.length;
        this.names.push(column);
        this.#index.set(column, index);
      }
      series[position] = index;
    }
    const file: WideFile = { series, blocks: [], timesMs: [] };
    this.#files.push(file);
    const width = containers.length;
    let block = new Float32Array(0);
    return (row) => {
      if (row.count !== columns.length) row.fail(`has ${row.count} fields, the header has ${columns.length}`);
      const timeMs = Math.round(row.number(time.index, time.name) * time.unitMs);
      if (!(timeMs < Number.MAX_SAFE_INTEGER)) row.fail(`${time.name} is blank or too large`);
      const last = file.timesMs.at(-1);
      if (last !== undefined && timeMs <= last) row.fail(`${time.name} does not rise: rows must be in order of time`);
      const place = file.timesMs.length % BLOCK_ROWS;
      if (place === 0) {
        block = new Float32Array(BLOCK_ROWS * width);
        file.blocks.push(block);
      }
      file.timesMs.push(timeMs);
      const base = place * width;
      for (let position = 0, field = 0; position < width; position++, field++) {
        if (field === time.index) field++;
        const value = row.number(field, 'usage');
        const bytes = Math.round(value * unitBytes);
        if (bytes > MOST_BYTES) row.fail(`${shown(columns[field]!)} is ${value}: no machine has that much`);
        block[base + position] = bytes;
      }
    };
  }

  /** All files in the form of a trace: on a grid if every step is the same, else each sample with its own moment. */
  layOut(): Pick<Trace, 'clock' | 'usageBytes' | 'runs' | 'spanMs'> {
    const timesMs = this.#joinedTimes();
    const stepMs = regularStep(timesMs);
    return stepMs === undefined ? this.#onStamps(timesMs) : this.#onGrid(timesMs.length, stepMs);
  }

  #joinedTimes(): Float64Array {
    const rows = this.#files.reduce((sum, file) => sum + file.timesMs.length, 0);
    const times = new Float64Array(rows);
    let at = 0;
    let stepMs = 1;
    for (const file of this.#files) {
      const first = file.timesMs[0];
      if (first === undefined) continue;
      if (file.timesMs.length > 1) stepMs = file.timesMs[1]! - first;
      const origin = at === 0 ? first : first - times[at - 1]! - stepMs;
      for (const timeMs of file.timesMs) times[at++] = timeMs - origin;
    }
    return times;
  }

  #onGrid(columns: number, stepMs: number): Pick<Trace, 'clock' | 'usageBytes' | 'runs' | 'spanMs'> {
    let filled = 0;
    for (const file of this.#files)
      for (const block of file.blocks) {
        const last = block === file.blocks.at(-1) ? (file.timesMs.length - 1) % BLOCK_ROWS : BLOCK_ROWS - 1;
        for (let index = 0; index < (last + 1) * file.series.length; index++) if (block[index]! >= 0) filled++;
      }
    const usageBytes = new Float32Array(filled);
    const runs = { series: int32s(), from: int32s(), count: int32s(), firstColumn: int32s() };
    let length = 0;
    this.#eachSeries((series, values) => {
      let from = length;
      for (let column = 0; column <= columns; column++) {
        const value = column < columns ? values[column]! : Number.NaN;
        if (value >= 0) usageBytes[length++] = value;
        else if (length > from) {
          runs.series.push(series);
          runs.from.push(from);
          runs.count.push(length - from);
          runs.firstColumn.push(column - (length - from));
          from = length;
        }
      }
    }, columns);
    return {
      clock: { kind: 'grid', stepMs, columns },
      usageBytes,
      runs: {
        series: runs.series.values.slice(),
        from: runs.from.values.slice(),
        count: runs.count.values.slice(),
        firstColumn: runs.firstColumn.values.slice(),
      },
      spanMs: Math.max(0, columns - 1) * stepMs,
    };
  }

  #onStamps(timesMs: Float64Array): Pick<Trace, 'clock' | 'usageBytes' | 'runs' | 'spanMs'> {
    const samples = new StampedSamples();
    this.#eachSeries((series, values) => {
      for (let row = 0; row < timesMs.length; row++) samples.add(series, timesMs[row]!, values[row]!);
    }, timesMs.length);
    return samples.layOut(this.names.length, () => 0);
  }

  /** Each series over all files, NaN where it is off; the array is used again for the next. */
  #eachSeries(take: (series: number, values: Float32Array) => void, rows: number): void {
    const positions = this.#files.map((file) => {
      const position = new Int32Array(this.names.length).fill(-1);
      for (const [index, series] of file.series.entries()) position[series] = index;
      return position;
    });
    const values = new Float32Array(rows);
    for (let series = 0; series < this.names.length; series++) {
      let at = 0;
      for (const [index, file] of this.#files.entries()) {
        const position = positions[index]![series]!;
        const width = file.series.length;
        for (let row = 0; row < file.timesMs.length; row++)
          values[at++] =
            position < 0
              ? Number.NaN
              : file.blocks[Math.floor(row / BLOCK_ROWS)]![(row % BLOCK_ROWS) * width + position]!;
      }
      take(series, values);
    }
  }
}

/** The one step between all moments, or undefined; a single moment is a grid of one column. */
function regularStep(timesMs: Float64Array): number | undefined {
  if (timesMs.length < 2) return timesMs.length === 1 ? 1 : undefined;
  const stepMs = timesMs[1]! - timesMs[0]!;
  for (let row = 2; row < timesMs.length; row++) if (timesMs[row]! - timesMs[row - 1]! !== stepMs) return undefined;
  return stepMs;
}
