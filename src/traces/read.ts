import { attributeColumns, ContainerTables } from './attributes.ts';
import { readLines, Row, shown, type TraceFile } from './csv.ts';
import { didYouMean, TraceError } from './errors.ts';
import { LongSamples, sampleColumns } from './long.ts';
import { isFirstLine, RecordingReader } from './recording.ts';
import { makeTrace, type Trace } from './trace.ts';
import { normal, timeColumn, unitInName, usageColumn } from './vocabulary.ts';
import { WideSamples } from './wide.ts';

export interface ReadOptions {
  /** What 1 in a usage or request column is worth, where the source does not say. */
  readonly unitBytes?: number;
  /** What the trace is called; else it is called after its files. */
  readonly title?: string;
  /** Called after each chunk. */
  readonly onProgress?: (progress: { readonly file: string; readonly readBytes: number }) => void;
}

/** What the importers read, for the message that nothing fitted. */
const KNOWN = [
  'a row a sample: a column container (or pod, vm, name, ...), a time (t_s, dt_ms, time_us, ...) and usage (mem_mib, working_set_bytes, ...)',
  'a column a container: a time (t_s, ...) and then one column of usage for each',
  'a table of containers beside either: container and mem_limit_bytes (or memory_request_..., first_ms, ...)',
  "a recording of Plimsoll's own (NDJSON)",
];
const TYPICAL = [
  'container',
  'pod',
  'vm',
  'name',
  't_s',
  't_ms',
  'dt_ms',
  'time_us',
  'mem_mib',
  'mem_bytes',
  'working_set_bytes',
  'usage_bytes',
];
const NO_RECORDING = 'is no recording: its first line must be of kind "run"; only Plimsoll\'s own NDJSON is read';
const OPEN_BRACE = 123;
const decoder = new TextDecoder();

/** A file that no importer reads, and what would be told if it were alone. */
interface Misfit {
  readonly error: TraceError;
  /** It has a header, of other columns: more likely meant than a file that has none. */
  readonly isTable: boolean;
}

/**
 * Reads a trace from its files, each once and in the order given. Which importer reads a file is chosen by what is in
 * it, by its first line. Files that say nothing a replay needs are passed over with a note, unless they are all there is.
 */
export async function readTrace(files: readonly TraceFile[], options: ReadOptions = {}): Promise<Trace> {
  const wide = new WideSamples();
  const long = new LongSamples();
  const tables = new ContainerTables();
  const recordings: RecordingReader[] = [];
  const found = { wide: 0, long: 0 };
  const notes: string[] = [];
  const misfits: Misfit[] = [];
  const unitBytes = options.unitBytes ?? null;

  for (const file of files) {
    const row = new Row(file.name);
    let take: ((row: Row) => void) | undefined;
    let recording: RecordingReader | undefined;
    let skip = false;
    let rows = 0;
    const passOver = (error: TraceError, isTable: boolean): void => {
      misfits.push({ error, isTable });
      skip = true;
    };
    const begin = (header: Row): void => {
      const columns = Array.from({ length: header.count }, (_, field) => header.text(field));
      const plain = columns.map(normal);
      const stem = stemOf(file.name);
      const samples = sampleColumns(plain);
      const attributes = attributeColumns(plain);
      const time = timeColumn(plain);
      if (samples) {
        found.long++;
        take = long.file(file.name, stem, plain, samples, unitBytes);
      } else if (attributes && usageColumn(plain) === undefined)
        take = tables.table(file.name, stem, plain, attributes, unitBytes);
      else if (time && plain.length > 1 && usageColumn(plain) === undefined && looksWide(plain)) {
        if (Number.isNaN(time.unitMs))
          throw new TraceError(
            file.name,
            1,
            `column "${time.name}" does not say its unit: rename it ${time.name}_s or ${time.name}_ms`,
          );
        const unit = unitBytes ?? unitInName(baseOf(file.name));
        if (unit === null)
          throw new TraceError(
            file.name,
            1,
            'nothing says in which unit usage is: give it with --unit (1MiB, 1KiB, 1B), or name the file NAME_mib.csv',
          );
        found.wide++;
        take = wide.file(file.name, columns, time, unit);
      } else {
        passOver(misfit(file.name, columns, plain), true);
      }
    };
    const first = (bytes: Uint8Array, start: number, end: number, line: number): void => {
      if (bytes[start] === OPEN_BRACE) {
        const text = decoder.decode(bytes.subarray(start, end));
        if (!isFirstLine(text)) {
          passOver(new TraceError(file.name, line, NO_RECORDING), false);
          return;
        }
        recording = new RecordingReader(file.name);
        recordings.push(recording);
        recording.take(text, line);
        return;
      }
      try {
        row.cut(bytes, start, end, line);
      } catch (error) {
        if (!(error instanceof TraceError)) throw error;
        passOver(error, false);
        return;
      }
      begin(row);
    };
    const lines = await readLines(
      file,
      (bytes, start, end, line) => {
        if (skip) return;
        if (recording) recording.take(decoder.decode(bytes.subarray(start, end)), line);
        else if (take) {
          rows++;
          take(row.cut(bytes, start, end, line));
        } else first(bytes, start, end, line);
      },
      (readBytes) => options.onProgress?.({ file: file.name, readBytes }),
    );
    if (take && rows === 0) throw new TraceError(file.name, lines, 'has a header but no rows');
    if (!take && !recording && !skip) passOver(new TraceError(file.name, undefined, 'is empty'), false);
  }

  const kinds = Number(found.wide > 0) + Number(found.long > 0) + recordings.length;
  const title = options.title ?? titleOf(files);
  if (kinds > 1)
    throw new TraceError(
      title,
      undefined,
      'holds traces of different forms, or several recordings: replay one at a time',
    );
  for (const { error } of misfits) notes.push(`${baseOf(error.file)} was not needed`);
  if (recordings[0]) return recordings[0].finish(notes);
  if (found.long > 0) return long.finish(title, tables, notes);
  if (found.wide > 0)
    return makeTrace(
      {
        title,
        importer: 'a column a container',
        names: wide.names,
        requestBytes: Float64Array.from(wide.names, (name) => tables.largestRequestBytes(name)),
        notes,
      },
      wide.layOut(),
    );
  const nearest = misfits.find(({ isTable }) => isTable) ?? (tables.isEmpty ? misfits[0] : undefined);
  if (nearest !== undefined) throw nearest.error;
  if (!tables.isEmpty)
    throw new TraceError(title, undefined, 'has a table of containers but no samples: give the file of samples too');
  throw new TraceError(title, undefined, 'there is no file to read');
}

/** Container columns have names of their own, not those of figures: `cpu_pct` beside a time is some other table. */
const looksWide = (columns: readonly string[]): boolean =>
  !columns.some((name) => /(^|_)(cpu|pct|percent|cores|kb|gpu)(_|$)/.test(name));

function misfit(file: string, columns: readonly string[], plain: readonly string[]): TraceError {
  const seen = columns
    .slice(0, 6)
    .map((column) => `"${shown(column)}"`)
    .join(', ');
  const near = plain.slice(0, 50).map((column) => ({
    column,
    hint: didYouMean(
      column,
      TYPICAL.filter((one) => !plain.includes(one)),
    ),
  }));
  const slip = near.find(({ column, hint }) => hint !== '' && !TYPICAL.includes(column));
  const lacking = [...(timeColumn(plain) ? [] : ['a time']), ...(usageColumn(plain) ? [] : ['usage'])];
  const missing = lacking.length > 0 ? `no column tells ${lacking.join(' or ')}` : 'no column names the container';
  return new TraceError(
    file,
    1,
    `${missing}${slip ? `; is "${shown(slip.column)}" meant${slip.hint.replace('; did you mean', ' as')}` : ''}; it has ${seen}${columns.length > 6 ? ` and ${columns.length - 6} more` : ''}. Read are ${KNOWN.join('; ')}`,
  );
}

const baseOf = (name: string): string => name.slice(name.lastIndexOf('/') + 1);
/** `eager` of `folder/eager.samples.csv.gz`. */
const stemOf = (name: string): string => baseOf(name).split('.')[0]!;

function titleOf(files: readonly TraceFile[]): string {
  const first = files[0]?.name ?? 'the trace';
  const folder = first.slice(0, Math.max(0, first.lastIndexOf('/')));
  return files.length > 1 && folder !== ''
    ? baseOf(folder)
    : baseOf(first).replace(/\.(csv|ndjson|jsonl)?(\.gz)?$/, '');
}
