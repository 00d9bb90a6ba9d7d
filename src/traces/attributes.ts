import { shown, type Row } from './csv.ts';
import { TraceError } from './errors.ts';
import { MOST_BYTES } from './trace.ts';
import { nameColumns, requestColumn, type SizeColumn } from './vocabulary.ts';

/** What a table of containers says of one of them. */
export interface Attributes {
  /** NaN where it is blank or the table has no such column. */
  readonly requestBytes: number;
  /** When the container began, on the table's own clock; NaN where it is not said. */
  readonly startMs: number;
}

const START = /^(first|start|started|created|creation)_(us|ms|s)$/;
const UNIT_MS = { us: 0.001, ms: 1, s: 1000 } as const;

/** Which columns of a table tell attributes; undefined where it is no table of containers. */
export function attributeColumns(columns: readonly string[]) {
  const names = nameColumns(columns);
  const request = requestColumn(columns);
  const start = columns.findIndex((name) => START.test(name));
  if (names.length === 0 || (request === undefined && start < 0)) return undefined;
  return { names, request, start };
}

/** Tables of containers, by the stem of their file's name (`eager` of `eager.containers.csv`). */
export class ContainerTables {
  readonly #byStem = new Map<string, Map<string, Attributes>>();

  /** Begins a table; returns what takes its rows. */
  table(
    file: string,
    stem: string,
    columns: readonly string[],
    found: NonNullable<ReturnType<typeof attributeColumns>>,
    unitBytes: number | null,
  ): (row: Row) => void {
    const table = this.#byStem.get(stem) ?? new Map<string, Attributes>();
    this.#byStem.set(stem, table);
    const unit = found.request && unitOf(file, found.request, unitBytes);
    const startUnit = found.start < 0 ? 0 : UNIT_MS[START.exec(columns[found.start]!)![2] as keyof typeof UNIT_MS];
    const prefix = found.names.length === 1 ? columns[found.names[0]!]! : '';
    return (row) => {
      if (row.count !== columns.length) row.fail(`has ${row.count} fields, the header has ${columns.length}`);
      const name = nameOf(row, found.names);
      const requestBytes = found.request
        ? Math.round(row.number(found.request.index, found.request.name) * unit!)
        : Number.NaN;
      if (requestBytes > MOST_BYTES)
        row.fail(`${found.request!.name} is ${requestBytes} bytes: no machine has that much`);
      const startMs = found.start < 0 ? Number.NaN : row.number(found.start, columns[found.start]!) * startUnit;
      const attributes = { requestBytes, startMs };
      table.set(name, attributes);
      // A wide table calls the container with id 7 `vm7`.
      if (prefix !== '' && /^\d+$/.test(name)) table.set(`${prefix}${name}`, attributes);
    };
  }

  get isEmpty(): boolean {
    return this.#byStem.size === 0;
  }

  /** Of the table that belongs to the samples' file, or of the only other there may be. */
  find(stem: string, name: string): Attributes | undefined {
    const own = this.#byStem.get(stem);
    if (own) return own.get(name);
    for (const table of this.#byStem.values()) if (table.has(name)) return table.get(name);
    return undefined;
  }

  /** The largest request over all tables: a container that was resized had that much at some time. */
  largestRequestBytes(name: string): number {
    let largest = Number.NaN;
    for (const table of this.#byStem.values()) {
      const request = table.get(name)?.requestBytes ?? Number.NaN;
      if (!(largest >= request)) largest = Number.isNaN(request) ? largest : request;
    }
    return largest;
  }
}

/** The container a row is about. */
export const nameOf = (row: Row, columns: readonly number[]): string => {
  const name = columns.map((column) => row.text(column)).join('/');
  if (columns.length === 1 && name === '') row.fail('the name of the container is blank');
  return name;
};

/** The unit of a column: its own, or the one that was given. @throws TraceError where there is neither */
export function unitOf(file: string, column: SizeColumn, unitBytes: number | null): number {
  const unit = column.unitBytes ?? unitBytes;
  if (unit === null)
    throw new TraceError(
      file,
      1,
      `column "${shown(column.name)}" does not say its unit: give it with --unit (1MiB, or the size of the whole where it is a share)`,
    );
  return unit;
}
