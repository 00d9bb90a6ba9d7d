/** One figure of a bench: the median of its rounds, which are kept. */
export interface BenchResult {
  readonly id: string;
  readonly value: number;
  readonly unit: string;
  readonly min: number;
  readonly max: number;
  readonly runs: number;
  readonly rounds: readonly number[];
  readonly peer?: Peer;
}

/** Another program's figure for the same, of rounds that alternated with ours. */
export interface Peer {
  readonly name: string;
  readonly value: number;
  /** Ours / the peer's. */
  readonly ratio: number;
  readonly rounds: readonly number[];
}

/** The median of rounds, with their spread. */
export function result(id: string, unit: string, rounds: readonly number[]): BenchResult {
  if (rounds.length === 0) throw new RangeError(`${id}: there is no round to take a median of`);
  return {
    id,
    value: median(rounds),
    unit,
    min: Math.min(...rounds),
    max: Math.max(...rounds),
    runs: rounds.length,
    rounds,
  };
}

/** As `result`, beside a peer's rounds; without any it has no peer. */
export function resultBeside(
  id: string,
  unit: string,
  rounds: readonly number[],
  peer: { readonly name: string; readonly rounds: readonly number[] },
): BenchResult {
  const ours = result(id, unit, rounds);
  if (peer.rounds.length === 0) return ours;
  const value = median(peer.rounds);
  return { ...ours, peer: { ...peer, value, ratio: ours.value / value } };
}

/** The middle of some numbers, at least one. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}
