import * as z from 'zod';

/** A figure of a results file, as far as it is compared. Rounds are what its noise is told from. */
const FigureRead = z.object({
  id: z.string(),
  value: z.number(),
  unit: z.string(),
  rounds: z.array(z.number()).default([]),
});
const Results = z.object({ bench: z.string(), results: z.array(FigureRead) });

export interface Figure {
  readonly id: string;
  readonly value: number;
  readonly unit: string;
  readonly rounds: readonly number[];
}

/** What an earlier run measured, by id. */
export type Earlier = ReadonlyMap<string, Figure>;

/** What became of one figure. */
export interface Change {
  readonly id: string;
  readonly before: number;
  /** Now / before, of medians; null where it was 0. */
  readonly ratio: number | null;
  /** `unknown`: there are too few rounds to tell it from noise, or what was measured is not the same. */
  readonly verdict: 'same' | 'more' | 'less' | 'unknown';
  readonly words: string;
}

/** Of a hundred figures that have not changed, one may be said to have. */
const CHANCE = 0.01;
/** No smaller change is claimed: CPU a packet, the steadiest figure there is, differs by as much between two runs of the same. */
const SMALLEST = 0.03;
/** Up to so many rounds of both together, chances are counted; beyond, the normal curve is as good. */
const COUNTED = 100;
/** Of the normal curve, `CHANCE` lies beyond so many deviations, both sides together. */
const DEVIATIONS = 2.576;

/** @throws z.ZodError or SyntaxError for what is no result of a bench; RangeError for one of another bench */
export function readEarlier(text: string, bench: string): Earlier {
  const earlier = Results.parse(JSON.parse(text));
  if (earlier.bench !== bench) throw new RangeError(`it is a result of ${earlier.bench}, not of ${bench}`);
  return new Map(earlier.results.map((figure) => [figure.id, figure]));
}

/** What became of each figure that both have. */
export const changesSince = (earlier: Earlier, now: readonly Figure[]): Change[] =>
  now.flatMap((figure) => {
    const before = earlier.get(figure.id);
    return before === undefined ? [] : [changeOf(before, figure)];
  });

/**
 * What became of a figure: a change is one if its median moved by 3 % or more, and the rounds of both runs, mixed and dealt
 * out anew, would be parted as far in one deal of a hundred or less (the rank-sum test of Wilcoxon, Mann and Whitney, both
 * ways). It asks nothing of how noise is spread, and one wild round changes little.
 */
export function changeOf(before: Figure, now: Figure): Change {
  const ratio = before.value === 0 ? null : now.value / before.value;
  const change = { id: now.id, before: before.value, ratio };
  if (before.unit !== now.unit)
    return { ...change, verdict: 'unknown', words: `not comparable, it was in ${before.unit}` };
  const isSmall = ratio === null ? now.value === 0 : Math.abs(ratio - 1) < SMALLEST;
  if (isSmall) return { ...change, verdict: 'same', words: 'no change beyond noise' };
  const isMore = now.value > before.value;
  const moved = wordsOf(ratio, isMore);
  const [ours, theirs] = [now.rounds.length, before.rounds.length];
  if (!couldTell(ours, theirs))
    return {
      ...change,
      verdict: 'unknown',
      words: `${moved}, from too few rounds to tell it from noise (${theirs} before, ${ours} now; 5 each would do)`,
    };
  if (!arePartedBeyondChance(before.rounds, now.rounds))
    return { ...change, verdict: 'same', words: 'no change beyond noise' };
  return { ...change, verdict: isMore ? 'more' : 'less', words: `${moved}, beyond noise` };
}

/** `12 % more`; from twice on, `2.3 times as much`. */
function wordsOf(ratio: number | null, isMore: boolean): string {
  if (ratio === null || ratio < 0) return isMore ? 'more' : 'less';
  if (ratio >= 2) return `${Number(ratio.toPrecision(3))} times as much`;
  return `${Number((Math.abs(ratio - 1) * 100).toPrecision(2))} % ${isMore ? 'more' : 'less'}`;
}

/** Whether any outcome of so many rounds could be beyond chance: even parted wholly, few rounds are so by chance too often. */
const couldTell = (a: number, b: number): boolean =>
  a > 0 && b > 0 && (a + b > COUNTED || 2 / waysToChoose(a + b, a) <= CHANCE);

function waysToChoose(all: number, some: number): number {
  let ways = 1;
  for (let i = 1; i <= some; i++) ways = (ways * (all - some + i)) / i;
  return ways;
}

function arePartedBeyondChance(a: readonly number[], b: readonly number[]): boolean {
  const ranks = doubledRanks([...a, ...b]);
  // What the ranks of `a` add up to, against what they would on average.
  const average = a.length * (ranks.length + 1);
  const off = Math.abs(sum(ranks.slice(0, a.length)) - average);
  if (ranks.length <= COUNTED) return chanceOf(ranks, a.length, off) <= CHANCE;
  // Of the doubled ranks as they are, ties included.
  const squares = sum(ranks.map((rank) => (rank - ranks.length - 1) ** 2));
  const variance = (a.length * b.length * squares) / (ranks.length * (ranks.length - 1));
  return off > DEVIATIONS * Math.sqrt(variance);
}

/** The share of all choices of so many ranks whose sum is as far off the average, or farther. */
function chanceOf(ranks: readonly number[], size: number, off: number): number {
  const most = sum(ranks);
  // ways[k][s]: how many choices of k of the ranks seen so far add up to s.
  const ways = Array.from({ length: size + 1 }, () => new Float64Array(most + 1));
  ways[0]![0] = 1;
  let seen = 0;
  for (const rank of ranks) {
    seen++;
    for (let k = Math.min(seen, size); k >= 1; k--) {
      const [into, from] = [ways[k]!, ways[k - 1]!];
      for (let s = rank; s <= most; s++) into[s]! += from[s - rank]!;
    }
  }
  const average = size * (ranks.length + 1);
  const far = ways[size]!.reduce((total, count, s) => (Math.abs(s - average) >= off ? total + count : total), 0);
  return far / waysToChoose(ranks.length, size);
}

/** Twice the rank of each value, so that the rank of ties, halfway, is a whole number too. */
function doubledRanks(values: readonly number[]): number[] {
  const sorted = values.toSorted((a, b) => a - b);
  return values.map((value) => sorted.indexOf(value) + sorted.lastIndexOf(value) + 2);
}

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);
