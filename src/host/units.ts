/** Sizes, rates and durations, so that nobody passes a rate where a size is wanted. Values are plain numbers at run time. */

declare const unit: unique symbol;

/** A whole number of bytes, 0 or more, at most 2^53 - 1. */
export type Bytes = number & { readonly [unit]: 'bytes' };

/** A whole number of bits per second, 0 or more. */
export type BitsPerSecond = number & { readonly [unit]: 'bitsPerSecond' };

/** A duration in milliseconds, 0 or more; may have a fraction. */
export type Milliseconds = number & { readonly [unit]: 'milliseconds' };

/** What somebody wrote is no size, rate or duration; the message says what was written and what would do. */
export class UnitError extends Error {
  override readonly name = 'UnitError';
}

export const KIB = 1024;
export const MIB = 1024 * KIB;
export const GIB = 1024 * MIB;

const SIZE_UNITS = new Map<string, number>([
  ['', 1],
  ['b', 1],
  ...['k', 'm', 'g', 't', 'p'].flatMap((prefix, index): [string, number][] => [
    [prefix, 1000 ** (index + 1)],
    [`${prefix}b`, 1000 ** (index + 1)],
    [`${prefix}i`, 1024 ** (index + 1)],
    [`${prefix}ib`, 1024 ** (index + 1)],
  ]),
]);

const RATE_UNITS = new Map<string, number>([
  ['bit', 1],
  ['kbit', 1e3],
  ['mbit', 1e6],
  ['gbit', 1e9],
  ['tbit', 1e12],
]);

const DURATION_UNITS = new Map<string, number>([
  ['us', 0.001],
  ['ms', 1],
  ['s', 1000],
  ['m', 60_000],
  ['min', 60_000],
  ['h', 3_600_000],
  ['d', 86_400_000],
]);

/** A number as a size. @throws UnitError unless it is whole, 0 or more, and exact. */
export function bytes(value: number): Bytes {
  if (!Number.isSafeInteger(value) || value < 0)
    throw new UnitError(`${value} is not a whole number of bytes, 0 or more`);
  return value as Bytes;
}

/** A number as a duration in milliseconds. @throws UnitError unless it is finite and 0 or more. */
export function milliseconds(value: number): Milliseconds {
  if (!Number.isFinite(value) || value < 0) throw new UnitError(`${value} is not a number of milliseconds, 0 or more`);
  return value as Milliseconds;
}

/** `512Mi`, `1.5GiB`, `100M` (10^6), `4096` (bytes) as bytes. @throws UnitError */
export function parseBytes(text: string | number): Bytes {
  if (typeof text === 'number') return bytes(text);
  const value = Math.round(parseQuantity(text, SIZE_UNITS, 'size', '512Mi, 2Gi or 4096 (bytes)'));
  if (!Number.isSafeInteger(value)) throw new UnitError(`"${text}" is too large for a size`);
  return value as Bytes;
}

/** `10Mbit`, `1.5Gbit`, `500kbit` as bits per second (powers of 1000, as tc counts). @throws UnitError */
export function parseBitsPerSecond(text: string): BitsPerSecond {
  const value = Math.round(parseQuantity(text, RATE_UNITS, 'rate', '10Mbit, 500kbit or 1Gbit (bits per second)'));
  if (!Number.isSafeInteger(value)) throw new UnitError(`"${text}" is too large for a rate`);
  return value as BitsPerSecond;
}

/** `250ms`, `1.5s`, `10m`, `24h` as milliseconds. @throws UnitError */
export function parseMilliseconds(text: string): Milliseconds {
  return parseQuantity(text, DURATION_UNITS, 'duration', '250ms, 5s, 10m or 24h') as Milliseconds;
}

function parseQuantity(text: string, units: ReadonlyMap<string, number>, what: string, examples: string): number {
  const match = /^\s*(\d+(?:\.\d+)?|\.\d+)\s*([a-z]*)\s*$/i.exec(text);
  const factor = match ? units.get(match[2]!.toLowerCase()) : undefined;
  if (!match || factor === undefined) throw new UnitError(`"${text}" is not a ${what}: write ${examples}`);
  const value = Number(match[1]) * factor;
  if (!Number.isFinite(value)) throw new UnitError(`"${text}" is too large for a ${what}`);
  return value;
}

/** A size for people: three significant digits and a binary unit, `1.23 GiB`. Negative sizes keep their sign. */
export function formatBytes(value: number): string {
  const names = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  let scaled = Math.abs(value);
  let index = 0;
  while (scaled >= 1023.5 && index < names.length - 1) {
    scaled /= 1024;
    index++;
  }
  const digits = index === 0 || scaled >= 100 ? 0 : scaled >= 10 ? 1 : 2;
  return `${value < 0 ? '-' : ''}${scaled.toFixed(digits)} ${names[index]}`;
}

/** A duration for people: `250 ms`, `1.5 s`, `2 m 5 s`, `3 h 20 m`, `2 d 4 h`. */
export function formatMilliseconds(value: number): string {
  if (value < 1000) return `${trim(value)} ms`;
  if (value < 60_000) return `${trim(value / 1000)} s`;
  const seconds = Math.round(value / 1000);
  if (seconds < 3600) return `${Math.floor(seconds / 60)} m ${seconds % 60} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 1440) return `${Math.floor(minutes / 60)} h ${minutes % 60} m`;
  const hours = Math.round(minutes / 60);
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

const trim = (value: number): string => String(Number(value.toFixed(value < 10 ? 2 : 1)));
