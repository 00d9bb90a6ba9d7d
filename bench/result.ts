/** One figure of a bench: the median of its rounds, which are kept. */
export interface BenchResult {
  readonly id: string;
  readonly value: number;
  readonly unit: string;
  readonly min: number;
  readonly max: number;
  readonly runs: number;
  readonly rounds: readonly number[];
  readonly peer?: { readonly name: string; readonly value: number; readonly ratio: number };
}

/** The median of rounds, with their spread. */
export function result(id: string, unit: string, rounds: readonly number[]): BenchResult {
  if (rounds.length === 0) throw new RangeError(`${id}: there is no round to take a median of`);
  const sorted = rounds.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const value = sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
  return { id, value, unit, min: sorted[0]!, max: sorted.at(-1)!, runs: rounds.length, rounds };
}
