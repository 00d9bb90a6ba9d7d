import type { PlacedMachine, Placement } from './placement.ts';

/**
 * Usage between two samples: linear, in whole bytes. It rises or falls from one sample to the next without turning
 * back, and is exactly the sample at the samples.
 */
const between = (from: number, to: number, fromMs: number, toMs: number, atMs: number): number =>
  Math.round(from + (to - from) * ((atMs - fromMs) / (toMs - fromMs)));

/**
 * The containers of one machine within a stretch of time: who is there, the most each uses, and how much that can be in
 * sum. A stretch of one moment is exact. The arrays are used again by the next measuring.
 */
export class MachineUsage {
  /** How many stand in the columns. */
  count = 0;
  series = new Int32Array(16);
  /** The most that each uses within the stretch. */
  mostBytes = new Float64Array(16);
  /** No total within the stretch is above this. */
  upperBytes = 0;
  /** No total within the stretch is below this. */
  lowerBytes = 0;
  /** Totals at the two ends, of those that are there all along, without a sample between. */
  firstBytes = 0;
  lastBytes = 0;
  /** Nobody comes, goes or bends within the stretch, so the total goes straight from first to last. */
  isStraight = true;

  readonly #placement: Placement;
  readonly #deathMs: Float64Array;
  readonly #order: Int32Array;
  readonly #active: Int32Array;
  #activeCount = 0;
  #nextRun = 0;
  readonly #stepMs: number;
  readonly #timesMs: Float64Array;

  constructor(placement: Placement, machine: PlacedMachine, deathMs: Float64Array) {
    this.#placement = placement;
    this.#deathMs = deathMs;
    this.#order = machine.runsByStart;
    this.#active = new Int32Array(machine.runsByStart.length);
    const { clock } = placement.trace;
    this.#stepMs = clock.kind === 'grid' ? clock.stepMs : 0;
    this.#timesMs = clock.kind === 'grid' ? new Float64Array(0) : clock.timesMs;
  }

  /** Goes on to a later stretch, outside which nothing will be measured until the next call. */
  enter(fromMs: number, toMs: number): void {
    const { runStartMs, runEndMs, trace } = this.#placement;
    const active = this.#active;
    let kept = 0;
    const consider = (run: number): void => {
      if (runEndMs[run]! >= fromMs && this.#deathMs[trace.runs.series[run]!]! > fromMs) active[kept++] = run;
    };
    for (let index = 0; index < this.#activeCount; index++) consider(active[index]!);
    const stayed = kept;
    while (this.#nextRun < this.#order.length && runStartMs[this.#order[this.#nextRun]!]! <= toMs)
      consider(this.#order[this.#nextRun++]!);
    // A policy sees containers in the order of the trace, whoever came first.
    if (kept > stayed) active.subarray(0, kept).sort();
    this.#activeCount = kept;
    if (kept > this.series.length) {
      this.series = new Int32Array(kept * 2);
      this.mostBytes = new Float64Array(kept * 2);
    }
  }

  /** Measures from one millisecond to another, both included. */
  measure(fromMs: number, toMs: number): this {
    const { runStartMs, runEndMs, trace } = this.#placement;
    const { usageBytes, runs } = trace;
    let count = 0;
    let first = 0;
    let last = 0;
    let changing = 0;
    let others = 0;
    this.isStraight = true;
    for (let index = 0; index < this.#activeCount; index++) {
      const run = this.#active[index]!;
      const series = runs.series[run]!;
      const startMs = runStartMs[run]!;
      const endMs = Math.min(runEndMs[run]!, this.#deathMs[series]! - 1);
      if (startMs > toMs || endMs < fromMs) continue;
      const a = Math.max(fromMs, startMs);
      const b = Math.min(toMs, endMs);
      const before = this.#sampleBefore(run, a);
      const atFirst = this.#valueAfter(run, before, a);
      let most = atFirst;
      let atLast = atFirst;
      let isStraight = a === fromMs && b === toMs;
      if (b > a) {
        const final = this.#sampleBefore(run, b);
        atLast = this.#valueAfter(run, final, b);
        if (atLast > most) most = atLast;
        for (let sample = before + 1; sample <= final; sample++) {
          const value = usageBytes[sample]!;
          if (value > most) most = value;
        }
        if (final > before && !(final === before + 1 && this.#timeOf(run, final) === b)) isStraight = false;
      }
      this.series[count] = series;
      this.mostBytes[count++] = most;
      if (isStraight) {
        first += atFirst;
        last += atLast;
        if (atFirst !== atLast) changing++;
      } else {
        others += most;
        this.isStraight = false;
      }
    }
    this.count = count;
    this.firstBytes = first;
    this.lastBytes = last;
    // Each series is rounded by itself, so between its ends a straight total may pass both by up to a byte for each.
    const rounding = fromMs === toMs ? 0 : changing;
    this.upperBytes = Math.max(first, last) + rounding + others;
    this.lowerBytes = Math.min(first, last) - rounding;
    return this;
  }

  /** Usage of one series at a moment at which it is there. */
  at(run: number, atMs: number): number {
    return this.#valueAfter(run, this.#sampleBefore(run, atMs), atMs);
  }

  /** The last sample of the run at or before the moment. */
  #sampleBefore(run: number, atMs: number): number {
    const { from, firstColumn, count } = this.#placement.trace.runs;
    const start = from[run]!;
    if (this.#stepMs > 0) return start + Math.floor(atMs / this.#stepMs) - firstColumn[run]!;
    let low = start;
    let high = start + count[run]! - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.#timesMs[middle]! <= atMs) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  #valueAfter(run: number, sample: number, atMs: number): number {
    const { usageBytes } = this.#placement.trace;
    const sampleMs = this.#timeOf(run, sample);
    const value = usageBytes[sample]!;
    return sampleMs === atMs
      ? value
      : between(value, usageBytes[sample + 1]!, sampleMs, this.#timeOf(run, sample + 1), atMs);
  }

  #timeOf(run: number, sample: number): number {
    if (this.#stepMs === 0) return this.#timesMs[sample]!;
    const { from, firstColumn } = this.#placement.trace.runs;
    return (firstColumn[run]! + sample - from[run]!) * this.#stepMs;
  }
}

/** The first whole millisecond at which a series is above its limit, or Infinity. Reads it until then. */
export function firstAbove(placement: Placement, series: number, limitBytes: number): number {
  const { trace, firstRun } = placement;
  const { usageBytes, runs, clock } = trace;
  for (let run = firstRun[series]!; run < firstRun[series + 1]!; run++) {
    const from = runs.from[run]!;
    const end = from + runs.count[run]!;
    for (let sample = from; sample < end; sample++) {
      if (usageBytes[sample]! <= limitBytes) continue;
      const timeOf = (one: number): number =>
        clock.kind === 'grid' ? (runs.firstColumn[run]! + one - from) * clock.stepMs : clock.timesMs[one]!;
      let high = timeOf(sample);
      if (sample === from) return high;
      const [fromMs, toMs] = [timeOf(sample - 1), high];
      let low = fromMs;
      while (high - low > 1) {
        const middle = Math.floor((low + high) / 2);
        if (between(usageBytes[sample - 1]!, usageBytes[sample]!, fromMs, toMs, middle) > limitBytes) high = middle;
        else low = middle;
      }
      return high;
    }
  }
  return Number.POSITIVE_INFINITY;
}
