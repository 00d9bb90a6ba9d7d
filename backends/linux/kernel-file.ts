import { closeSync, openSync, readFileSync, readSync, writeFileSync } from 'node:fs';

/** memory.stat has under 80 lines; every read of every file goes through this one buffer. */
const scratch = Buffer.allocUnsafe(16_384);

const NEWLINE = 10;
const SPACE = 32;
const ZERO = 48;
const NINE = 57;

/** A file of the kernel kept open; each read begins at position 0, and gives its value of now. */
export class KernelFile {
  readonly #fd: number;

  constructor(path: string) {
    this.#fd = openSync(path, 'r');
  }

  /** A file that is one number. */
  readNumber(): number {
    return digitsAt(0, readSync(this.#fd, scratch, 0, scratch.length, 0));
  }

  /**
   * A file of lines `key value`: fills `into[i]` with the value of `keys[i]`, 0 where there is no such line. Looks at
   * bytes and makes no strings: a supervisor reads a thousand of these in one look.
   */
  readTable(keys: readonly Uint8Array[], into: Float64Array): void {
    const length = readSync(this.#fd, scratch, 0, scratch.length, 0);
    into.fill(0);
    let missing = keys.length;
    for (let start = 0; start < length && missing > 0;) {
      let end = start;
      while (end < length && scratch[end] !== SPACE && scratch[end] !== NEWLINE) end++;
      const index = indexOfKey(keys, start, end);
      if (index >= 0) {
        into[index] = digitsAt(end + 1, length);
        missing--;
      }
      while (end < length && scratch[end] !== NEWLINE) end++;
      start = end + 1;
    }
  }

  close(): void {
    closeSync(this.#fd);
  }
}

function digitsAt(position: number, end: number): number {
  let value = 0;
  for (let at = position; at < end; at++) {
    const digit = scratch[at]!;
    if (digit < ZERO || digit > NINE) break;
    value = value * 10 + (digit - ZERO);
  }
  return value;
}

function indexOfKey(keys: readonly Uint8Array[], start: number, end: number): number {
  search: for (let index = 0; index < keys.length; index++) {
    const key = keys[index]!;
    if (key.length !== end - start) continue;
    for (let at = key.length - 1; at >= 0; at--) if (key[at] !== scratch[start + at]) continue search;
    return index;
  }
  return -1;
}

/** The text of a small file of the kernel. */
export const readText = (path: string): string => readFileSync(path, 'latin1');

/** Writes to a file of the kernel that must be there. */
export const writeText = (path: string, text: string): void => writeFileSync(path, text, { flag: 'r+' });

/** A file that is one number. @throws Error where it holds none. */
export function readCount(path: string): number {
  const text = readText(path).trim();
  if (!/^\d+$/.test(text)) throw new Error(`${path} holds "${text.slice(0, 40)}", not a number`);
  return Number(text);
}

/** One value of a file of lines `key value`; 0 where there is no such line. */
export function readKey(path: string, key: string): number {
  const line = readText(path)
    .split('\n')
    .find((line) => line.startsWith(`${key} `));
  return line === undefined ? 0 : Number(line.slice(key.length + 1));
}

/** The numbers in a file of one number a line. Processes outside this pid namespace show as 0 and are left out. */
export const readPids = (path: string): number[] =>
  readText(path)
    .split('\n')
    .map(Number)
    .filter((pid) => pid > 0);
