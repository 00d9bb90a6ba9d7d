import { TraceError } from './errors.ts';

/** A file of a trace, opened by somebody else: its name for messages, its bytes (already decompressed) as they come. */
export interface TraceFile {
  readonly name: string;
  readonly chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
}

/** Takes the lines of a file: `bytes[start]` up to, not including, `bytes[end]`; valid only during the call. */
export type LineTaker = (bytes: Uint8Array, start: number, end: number, line: number) => void;

const NEWLINE = 10;
const RETURN = 13;
const QUOTE = 34;
const COMMA = 44;
const SPACE = 32;
const TAB = 9;
/** A million columns of 60 characters; past it the file is no table. */
const LONGEST_LINE = 64 * 1024 * 1024;
const decoder = new TextDecoder();

/** Hands over line after line, without their ends (LF or CRLF); blank lines are passed over, a byte order mark too. Returns how many there were. */
export async function readLines(file: TraceFile, take: LineTaker, onRead?: (bytes: number) => void): Promise<number> {
  let rest = new Uint8Array(0);
  let line = 0;
  let readBytes = 0;
  const each = (bytes: Uint8Array, start: number, end: number): void => {
    line++;
    const from =
      line === 1 && bytes[start] === 0xef && bytes[start + 1] === 0xbb && bytes[start + 2] === 0xbf ? start + 3 : start;
    const to = end > from && bytes[end - 1] === RETURN ? end - 1 : end;
    if (to > from) take(bytes, from, to, line);
  };
  for await (const chunk of guarded(file)) {
    readBytes += chunk.length;
    let start = 0;
    if (rest.length > 0) {
      const end = chunk.indexOf(NEWLINE);
      const joined = new Uint8Array(rest.length + (end < 0 ? chunk.length : end));
      joined.set(rest);
      joined.set(end < 0 ? chunk : chunk.subarray(0, end), rest.length);
      if (end < 0) {
        if (joined.length > LONGEST_LINE)
          throw new TraceError(file.name, line + 1, 'the line does not end: this is no table');
        rest = joined;
        onRead?.(readBytes);
        continue;
      }
      each(joined, 0, joined.length);
      rest = new Uint8Array(0);
      start = end + 1;
    }
    for (let end = chunk.indexOf(NEWLINE, start); end >= 0; end = chunk.indexOf(NEWLINE, start)) {
      each(chunk, start, end);
      start = end + 1;
    }
    if (start < chunk.length) rest = chunk.slice(start);
    onRead?.(readBytes);
  }
  if (rest.length > 0) each(rest, 0, rest.length);
  return line;
}

/** The chunks, with what goes wrong under way told of the file. */
async function* guarded(file: TraceFile): AsyncGenerator<Uint8Array> {
  try {
    yield* file.chunks;
  } catch (cause) {
    if (cause instanceof TraceError) throw cause;
    const code = (cause as { code?: unknown }).code;
    const truncated = code === 'Z_BUF_ERROR';
    const damaged = typeof code === 'string' && code.startsWith('Z_');
    const what = truncated
      ? 'the compressed file ends too early: it was cut off; fetch it again'
      : damaged
        ? `is damaged: ${(cause as Error).message}; fetch it again`
        : `cannot be read: ${cause instanceof Error ? cause.message : String(cause)}`;
    throw new TraceError(file.name, undefined, what, { cause });
  }
}

/** One line of a table, cut into fields. Fields are numbered from 0; quotes around a field are taken off. */
export class Row {
  count = 0;
  line = 0;
  readonly #file: string;
  #bytes: Uint8Array = new Uint8Array(0);
  #starts = new Int32Array(16);
  #ends = new Int32Array(16);

  constructor(file: string) {
    this.#file = file;
  }

  /** Cuts a line. The bytes must stay as they are while the fields are read. */
  cut(bytes: Uint8Array, start: number, end: number, line: number): this {
    this.#bytes = bytes;
    this.line = line;
    let count = 0;
    let at = start;
    for (;;) {
      if (count === this.#starts.length) this.#grow();
      if (bytes[at] === QUOTE && at < end) {
        const close = this.#closingQuote(at + 1, end);
        this.#starts[count] = at + 1;
        this.#ends[count++] = close;
        at = close + 1;
        if (at < end && bytes[at] !== COMMA) this.fail(`field ${count} goes on after its closing quote`);
      } else {
        this.#starts[count] = at;
        while (at < end && bytes[at] !== COMMA) at++;
        this.#ends[count++] = at;
      }
      if (at >= end) break;
      at++;
    }
    this.count = count;
    return this;
  }

  /** The field as text, blanks around it taken off. */
  text(field: number): string {
    const text = decoder.decode(this.#bytes.subarray(this.#starts[field], this.#ends[field]));
    return (text.includes('""') ? text.replaceAll('""', '"') : text).trim();
  }

  /** Is the field the same, byte for byte, as these? */
  equals(field: number, other: Uint8Array): boolean {
    const start = this.#starts[field]!;
    if (this.#ends[field]! - start !== other.length) return false;
    for (let index = 0; index < other.length; index++) if (this.#bytes[start + index] !== other[index]) return false;
    return true;
  }

  /** A copy of the field's bytes. */
  copy(field: number): Uint8Array {
    return this.#bytes.slice(this.#starts[field], this.#ends[field]);
  }

  /** The field as a number, 0 or more; NaN where it is blank. @throws TraceError for anything else, "NaN" and negatives included */
  number(field: number, column: string): number {
    const bytes = this.#bytes;
    let at = this.#starts[field]!;
    let end = this.#ends[field]!;
    while (at < end && isBlank(bytes[at]!)) at++;
    while (end > at && isBlank(bytes[end - 1]!)) end--;
    if (at === end) return Number.NaN;
    let digits = 0;
    let value = 0;
    let decimals = 0;
    const first = at;
    for (; at < end; at++) {
      const digit = bytes[at]! - 48;
      if (digit < 0 || digit > 9) break;
      value = value * 10 + digit;
      digits++;
    }
    if (at < end && bytes[at] === 46) {
      for (at++; at < end; at++) {
        const digit = bytes[at]! - 48;
        if (digit < 0 || digit > 9) break;
        value = value * 10 + digit;
        decimals++;
        digits++;
      }
    }
    // Up to 15 digits the integer and the power of ten are exact, so one division rounds as the language's own parser does.
    if (at === end && digits > 0 && digits <= 15) return decimals === 0 ? value : value / TENS[decimals]!;
    return this.#unusualNumber(first, end, column);
  }

  /** @throws TraceError with this line. */
  fail(what: string): never {
    throw new TraceError(this.#file, this.line, what);
  }

  #unusualNumber(start: number, end: number, column: string): number {
    const text = decoder.decode(this.#bytes.subarray(start, end));
    const value = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text) ? Number(text) : Number.NaN;
    if (!Number.isFinite(value))
      this.fail(`${column} is "${shown(text)}", not a number; leave it blank where nothing was measured`);
    if (value < 0) this.fail(`${column} is ${shown(text)}: it cannot be negative`);
    return value + 0;
  }

  #closingQuote(start: number, end: number): number {
    const bytes = this.#bytes;
    for (let at = start; at < end; at++) {
      if (bytes[at] !== QUOTE) continue;
      if (bytes[at + 1] !== QUOTE || at + 1 >= end) return at;
      at++;
    }
    return this.fail('a quoted field is not closed');
  }

  #grow(): void {
    const starts = new Int32Array(this.#starts.length * 2);
    const ends = new Int32Array(this.#starts.length * 2);
    starts.set(this.#starts);
    ends.set(this.#ends);
    this.#starts = starts;
    this.#ends = ends;
  }
}

const TENS = Float64Array.from({ length: 16 }, (_, power) => Number(`1e${power}`));
const isBlank = (byte: number): boolean => byte === SPACE || byte === TAB;

/** Text from a file, cut short and without control characters, so that a message stays one line. */
export const shown = (text: string): string => {
  // oxlint-disable-next-line no-control-regex
  const plain = text.replaceAll(/[\u0000-\u001f\u007f-\u009f\u2028\u2029\ufffd]/g, '?');
  return plain.length > 60 ? `${plain.slice(0, 57)}...` : plain;
};
