import { nameOf, unitOf, type ContainerTables } from './attributes.ts';
import type { Row } from './csv.ts';
import { TraceError } from './errors.ts';
import { StampedSamples } from './stamped.ts';
import { makeTrace, MOST_BYTES, prioritiesOf, type Trace } from './trace.ts';
import { nameColumns, requestColumn, timeColumn, usageColumn } from './vocabulary.ts';

/** Which columns of a table tell samples, one a row; undefined where it is no such table. */
export function sampleColumns(columns: readonly string[]) {
  const names = nameColumns(columns);
  const time = timeColumn(columns);
  const usage = usageColumn(columns);
  if (names.length === 0 || time === undefined || usage === undefined) return undefined;
  return {
    names,
    time,
    usage,
    request: requestColumn(columns),
    machine: columns.findIndex((name) => ['machine', 'machine_id', 'node', 'host'].includes(name)),
    priority: columns.indexOf('priority'),
  };
}

interface Series {
  readonly name: string;
  readonly stem: string;
  /** Times of the row count from its own start. */
  readonly relative: boolean;
  requestBytes: number;
  readonly machine: string | undefined;
  /** NaN where no column tells it. */
  readonly priority: number;
}

/** Gathers tables with a row a sample: container, time, usage, in any order of columns and of containers. */
export class LongSamples {
  readonly #samples = new StampedSamples();
  readonly #series: Series[] = [];
  readonly #index = new Map<string, number>();
  readonly #stems = new Set<string>();
  #firstMs = Number.POSITIVE_INFINITY;

  /** Begins a file; returns what takes its rows. */
  file(
    file: string,
    stem: string,
    columns: readonly string[],
    found: NonNullable<ReturnType<typeof sampleColumns>>,
    unitBytes: number | null,
  ): (row: Row) => void {
    const { names, time, usage, request, machine, priority } = found;
    if (Number.isNaN(time.unitMs))
      throw new TraceError(
        file,
        1,
        `column "${time.name}" does not say its unit: rename it ${time.name}_s or ${time.name}_ms`,
      );
    const unit = unitOf(file, usage, unitBytes);
    const requestUnit = request === undefined ? 0 : unitOf(file, request, unitBytes);
    this.#stems.add(stem);
    let current = -1;
    let currentName = new Uint8Array(0);
    return (row) => {
      if (row.count !== columns.length) row.fail(`has ${row.count} fields, the header has ${columns.length}`);
      if (current < 0 || names.length > 1 || !row.equals(names[0]!, currentName)) {
        const key = nameOf(row, names);
        const known = this.#index.get(`${stem}/${key}`);
        current = known ?? this.#series.length;
        if (known === undefined) {
          this.#index.set(`${stem}/${key}`, current);
          this.#series.push({
            name: key,
            stem,
            relative: time.relative,
            requestBytes: Number.NaN,
            machine: machine < 0 ? undefined : row.text(machine),
            priority: priority < 0 ? Number.NaN : row.number(priority, 'priority') || 0,
          });
        }
        if (names.length === 1) currentName = row.copy(names[0]!) as Uint8Array<ArrayBuffer>;
      }
      const timeMs = row.number(time.index, time.name) * time.unitMs;
      if (!(timeMs < Number.MAX_SAFE_INTEGER)) row.fail(`${time.name} is blank or too large`);
      if (Math.round(timeMs) <= Math.round(this.#samples.lastMs(current)))
        row.fail(
          `${time.name} does not rise for container "${this.#series[current]!.name}": its rows must be in order of time`,
        );
      const bytes = Math.round(row.number(usage.index, usage.name) * unit);
      if (bytes > MOST_BYTES) row.fail(`${usage.name} is ${bytes} bytes: no machine has that much`);
      if (request !== undefined) {
        const asked = Math.round(row.number(request.index, request.name) * requestUnit);
        const series = this.#series[current]!;
        if (!(series.requestBytes >= asked) && asked <= MOST_BYTES) series.requestBytes = asked;
      }
      if (timeMs < this.#firstMs) this.#firstMs = timeMs;
      this.#samples.add(current, timeMs, bytes);
    };
  }

  /** All of it, with what the tables of containers say besides. */
  finish(title: string, tables: ContainerTables, notes: string[]): Trace {
    const several = this.#stems.size > 1;
    const attributes = this.#series.map((series) => tables.find(series.stem, series.name));
    const starts = this.#series.map((series, index) =>
      series.relative ? (attributes[index]?.startMs ?? Number.NaN) : Number.NaN,
    );
    const firstStartMs = starts.reduce((first, start) => (start < first ? start : first), Number.POSITIVE_INFINITY);
    const unknown = this.#series.filter((series, index) => series.relative && Number.isNaN(starts[index])).length;
    if (unknown > 0) notes.push(`${unknown} containers have no recorded start: they begin with the trace`);
    const machineNames = [...new Set(this.#series.flatMap(({ machine }) => (machine === undefined ? [] : [machine])))];
    const machineIndex = new Map(machineNames.map((name, index) => [name, index]));
    const recorded = this.#series.every(({ machine }) => machine !== undefined);
    return makeTrace(
      {
        title,
        importer: 'a row a sample',
        names: this.#series.map(({ name, stem }) => (several ? `${stem}/${name}` : name)),
        requestBytes: Float64Array.from(this.#series, ({ requestBytes }, index) =>
          Number.isNaN(requestBytes) ? (attributes[index]?.requestBytes ?? Number.NaN) : requestBytes,
        ),
        machineOf: recorded ? Int32Array.from(this.#series, ({ machine }) => machineIndex.get(machine!)!) : null,
        machineNames: recorded ? machineNames : [],
        priority: prioritiesOf(this.#series),
        notes,
      },
      this.#samples.layOut(this.#series.length, (index) => {
        if (!this.#series[index]!.relative) return this.#firstMs;
        return Number.isNaN(starts[index]) ? 0 : firstStartMs - starts[index]!;
      }),
    );
  }
}
