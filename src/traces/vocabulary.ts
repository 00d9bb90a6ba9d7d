import { GIB, KIB, MIB } from '../host/units.ts';

/** Column names are compared without case, blanks, and with one kind of separator. */
export const normal = (column: string): string =>
  column
    .trim()
    .toLowerCase()
    .replaceAll(/[\s.-]+/g, '_');

/** A column that is a time: how many milliseconds its unit has; `relative` counts from the container's own start. */
export interface TimeColumn {
  readonly index: number;
  readonly name: string;
  readonly unitMs: number;
  readonly relative: boolean;
}

/** A column that is a size: how many bytes its unit has; null where the column does not say. */
export interface SizeColumn {
  readonly index: number;
  readonly name: string;
  readonly unitBytes: number | null;
}

const TIME = /^(dt|t|ts|time|timestamp|elapsed|offset)_(us|ms|s|sec|seconds)$/;
const TIME_WITHOUT_UNIT = /^(dt|t|ts|time|timestamp|datetime|date|elapsed|offset)$/;
const MILLISECONDS: Readonly<Record<string, number>> = { us: 0.001, ms: 1, s: 1000, sec: 1000, seconds: 1000 };
const BYTES: Readonly<Record<string, number>> = { b: 1, byte: 1, bytes: 1, kib: KIB, mib: MIB, gib: GIB };
/** Thousands to some, 1024s to others: never guessed. */
const DOUBTFUL = new Set(['kb', 'mb', 'gb', 'pct', 'percent', 'pages']);

/** Ways in which sources call usage, the most fitting first: what cannot be reclaimed is what counts. */
const USAGE = [
  'working_set',
  'memory_working_set',
  'container_memory_working_set',
  'mem_used',
  'memory_used',
  'mem',
  'memory',
  'mem_usage',
  'memory_usage',
  'usage',
  'used',
  'max_memory_usage',
  'avg_memory_usage',
  'rss',
];
const REQUEST = ['mem_request', 'memory_request', 'request', 'mem_limit', 'memory_limit', 'limit', 'mem_prov_kb_max'];
const NAME = [
  'container',
  'container_name',
  'container_id',
  'pod',
  'pod_name',
  'vm',
  'vm_id',
  'task',
  'task_id',
  'name',
  'id',
];
/** Two columns that only together name one container. */
const NAME_PAIRS = [['collection_id', 'instance_index']] as const;

/** The time column, if there is one. `unitMs` is NaN where the column does not say its unit. */
export function timeColumn(columns: readonly string[]): TimeColumn | undefined {
  for (const [index, name] of columns.entries()) {
    const match = TIME.exec(name);
    if (match) return { index, name, unitMs: MILLISECONDS[match[2]!]!, relative: match[1] === 'dt' };
  }
  const index = columns.findIndex((name) => TIME_WITHOUT_UNIT.test(name));
  return index < 0
    ? undefined
    : { index, name: columns[index]!, unitMs: Number.NaN, relative: columns[index] === 'dt' };
}

export const usageColumn = (columns: readonly string[]): SizeColumn | undefined => sizeColumn(columns, USAGE);
export const requestColumn = (columns: readonly string[]): SizeColumn | undefined => sizeColumn(columns, REQUEST);

/** The columns that together name a container: one, or a known pair. Empty if there is none. */
export function nameColumns(columns: readonly string[]): readonly number[] {
  for (const name of NAME) if (columns.includes(name)) return [columns.indexOf(name)];
  for (const pair of NAME_PAIRS)
    if (pair.every((name) => columns.includes(name))) return pair.map((name) => columns.indexOf(name));
  return [];
}

/** The unit a word carries in its name, `mem_used_mib`; null where it carries none, or one that is read in two ways. */
export function unitInName(name: string): number | null {
  const parts = normal(name).split('_');
  for (const part of parts.reverse()) if (Object.hasOwn(BYTES, part) && part !== 'b') return BYTES[part]!;
  return null;
}

function sizeColumn(columns: readonly string[], words: readonly string[]): SizeColumn | undefined {
  for (const word of words)
    for (const [index, name] of columns.entries()) {
      // VMware counts provisioned memory in KB of 1024 bytes (8 GiB is 8388608 of them).
      if (name === word && name.endsWith('_kb_max')) return { index, name, unitBytes: KIB };
      if (name === word) return { index, name, unitBytes: null };
      if (!name.startsWith(`${word}_`)) continue;
      const suffix = name.slice(word.length + 1);
      if (Object.hasOwn(BYTES, suffix)) return { index, name, unitBytes: BYTES[suffix]! };
      if (DOUBTFUL.has(suffix)) return { index, name, unitBytes: null };
    }
  return undefined;
}
