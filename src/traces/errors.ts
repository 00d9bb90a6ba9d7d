import { closest, distance } from 'fastest-levenshtein';

/** A recorded trace that cannot be read: which file, which line, what is wrong and what would do. */
export class TraceError extends Error {
  override readonly name = 'TraceError';
  readonly file: string;
  readonly line: number | undefined;

  constructor(file: string, line: number | undefined, what: string, options: { cause?: unknown } = {}) {
    super(`${file}${line === undefined ? '' : `:${line}`}: ${what}`, options);
    this.file = file;
    this.line = line;
  }
}

/** Of the names known, the one that was most likely meant, as words to append to a message; empty where none is near. */
export function didYouMean(word: string, known: readonly string[]): string {
  const near = nearest(word, known);
  return near === undefined ? '' : `; did you mean "${near}"?`;
}

/** The known name that is near enough for the word to be a slip. */
function nearest(word: string, known: readonly string[]): string | undefined {
  if (known.length === 0 || word.length > 100) return undefined;
  const near = closest(word.toLowerCase(), known);
  return distance(word.toLowerCase(), near) <= Math.ceil(word.length / 4) ? near : undefined;
}
