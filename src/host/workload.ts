import type { Bytes, Milliseconds } from './units.ts';

/** What a container does with memory over its life; both backends follow the same curves. */
export interface Workload {
  /** Memory that only the death of the process gives back, by age of the container. */
  readonly memory: MemoryCurve;
  /** File cache the container fills besides: reads of a file of its own, given back under pressure. */
  readonly cache?: CacheCurve;
  /** Processes that share the memory evenly; 1 unless set. The kernel's OOM killer takes one process, a kill all. */
  readonly processes?: number;
  /** The memory is tmpfs, which outlives its writer: a victim that frees nothing. */
  readonly shared?: boolean;
  /** The container ends by itself at this age. */
  readonly endsAfterMs?: Milliseconds;
}

export type MemoryCurve =
  | { readonly kind: 'constant'; readonly bytes: Bytes }
  | {
      readonly kind: 'ramp';
      readonly from: Bytes;
      readonly to: Bytes;
      readonly startMs: Milliseconds;
      readonly overMs: Milliseconds;
    }
  /** Rises from low to high in each period, and drops. */
  | { readonly kind: 'sawtooth'; readonly low: Bytes; readonly high: Bytes; readonly periodMs: Milliseconds }
  /** Stands at base; at `atMs` rises to peak within `riseMs`, holds, and falls back at once; again each `everyMs` if set. */
  | {
      readonly kind: 'burst';
      readonly base: Bytes;
      readonly peak: Bytes;
      readonly atMs: Milliseconds;
      readonly riseMs: Milliseconds;
      readonly holdMs: Milliseconds;
      readonly everyMs?: Milliseconds;
    }
  /** Grows without end, or up to `upTo`. */
  | { readonly kind: 'leak'; readonly from: Bytes; readonly bytesPerSecond: Bytes; readonly upTo?: Bytes }
  /** A recorded trace: linear between points, constant after the last; ages must rise. */
  | { readonly kind: 'trace'; readonly points: readonly (readonly [ageMs: number, bytes: number])[] };

/** Cache grows at a rate up to a size. The share that is read twice is active, and counts as in use. */
export interface CacheCurve {
  readonly bytes: Bytes;
  readonly bytesPerSecond: Bytes;
  /** 0 to 1; 0 unless set. */
  readonly activeShare?: number;
}

/**
 * A curve as straight pieces: `values[i]` holds from `agesMs[i]`, rising by `slopes[i]` bytes a millisecond until the
 * next age. With a period, the whole repeats each `periodMs` (0: it does not).
 */
export interface PiecewiseLinear {
  readonly agesMs: Float64Array;
  readonly values: Float64Array;
  readonly slopes: Float64Array;
  readonly periodMs: number;
}

/** One straight piece that holds at an age: value now, slope, and the age until which it holds. */
export interface Piece {
  value: number;
  slope: number;
  untilMs: number;
}

/** The memory curve in straight pieces. */
export function memoryPieces(curve: MemoryCurve): PiecewiseLinear {
  switch (curve.kind) {
    case 'constant':
      return pieces([[0, curve.bytes, 0]]);
    case 'ramp':
      return pieces([[0, curve.from, 0], ...rise(curve.startMs, curve.from, curve.to, curve.overMs)]);
    case 'sawtooth':
      return pieces([[0, curve.low, (curve.high - curve.low) / curve.periodMs]], curve.periodMs);
    case 'burst': {
      const fallMs = curve.atMs + curve.riseMs + curve.holdMs;
      const shape: Knot[] = [
        [0, curve.base, 0],
        ...rise(curve.atMs, curve.base, curve.peak, curve.riseMs),
        [fallMs, curve.base, 0],
      ];
      return curve.everyMs === undefined ? pieces(shape) : pieces(shape, curve.everyMs);
    }
    case 'leak': {
      const slope = curve.bytesPerSecond / 1000;
      if (curve.upTo === undefined || slope === 0) return pieces([[0, curve.from, slope]]);
      return pieces([
        [0, curve.from, slope],
        [(curve.upTo - curve.from) / slope, curve.upTo, 0],
      ]);
    }
    case 'trace': {
      const knots = curve.points.map(([ageMs, value], index): Knot => {
        const next = curve.points[index + 1];
        return [ageMs, value, next ? (next[1] - value) / (next[0] - ageMs) : 0];
      });
      const first = knots[0];
      if (first === undefined) return pieces([[0, 0, 0]]);
      return pieces(first[0] > 0 ? [[0, first[1], 0], ...knots] : knots);
    }
  }
}

/** The cache curve in straight pieces. */
export function cachePieces(curve: CacheCurve | undefined): PiecewiseLinear {
  if (curve === undefined || curve.bytes === 0 || curve.bytesPerSecond === 0) return pieces([[0, 0, 0]]);
  return memoryPieces({ kind: 'leak', from: 0 as Bytes, bytesPerSecond: curve.bytesPerSecond, upTo: curve.bytes });
}

/** Fills `into` with the piece that holds at this age, and returns it. Never below zero. */
export function pieceAt(curve: PiecewiseLinear, ageMs: number, into: Piece): Piece {
  let local = ageMs;
  let base = 0;
  if (curve.periodMs > 0) {
    base = Math.floor(ageMs / curve.periodMs) * curve.periodMs;
    local = ageMs - base;
  }
  const { agesMs, values, slopes } = curve;
  let low = 0;
  let high = agesMs.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (agesMs[middle]! <= local) low = middle;
    else high = middle - 1;
  }
  const end =
    low + 1 < agesMs.length ? agesMs[low + 1]! : curve.periodMs > 0 ? curve.periodMs : Number.POSITIVE_INFINITY;
  into.value = Math.max(0, values[low]! + slopes[low]! * (local - agesMs[low]!));
  into.slope = slopes[low]!;
  into.untilMs = base + end;
  return into;
}

type Knot = readonly [ageMs: number, value: number, slope: number];

const rise = (atMs: number, from: number, to: number, overMs: number): Knot[] =>
  overMs === 0
    ? [[atMs, to, 0]]
    : [
        [atMs, from, (to - from) / overMs],
        [atMs + overMs, to, 0],
      ];

function pieces(knots: readonly Knot[], periodMs = 0): PiecewiseLinear {
  return {
    agesMs: Float64Array.from(knots, (knot) => knot[0]),
    values: Float64Array.from(knots, (knot) => knot[1]),
    slopes: Float64Array.from(knots, (knot) => knot[2]),
    periodMs,
  };
}
