import type { Placement } from './placement.ts';

/**
 * Time cut into windows of one width, and for each an upper bound of the total while it lasts: what lets a replay skip
 * the stretches in which nothing can happen. All arithmetic is on whole bytes, so what is taken away again leaves no trace.
 */
export interface Windows {
  readonly count: number;
  readonly widthMs: number;
  /** Reads and adds a series up to, not including, the moment it dies. Returns how many samples were read. */
  add(series: number, deathMs: number): number;
  /** Takes away what was added of a series from this window on. */
  remove(series: number, fromWindow: number, deathMs: number): void;
  /** No total within the window is above this. */
  boundBytes(window: number): number;
  /** The total at the first moment of the window where it is known without more reading, else 0. */
  openingBytes(window: number): number;
  /** No total within the window is above this, unless it is an opening one; 0 where those tell all. */
  hiddenBytes(window: number): number;
  clear(): void;
}

/** Windows fit for the trace: its own columns, or stretches of a few samples each. */
export const windowsFor = (placement: Placement): Windows =>
  placement.trace.clock.kind === 'grid' ? new GridWindows(placement) : new StampWindows(placement);

/** A window is the time from one column to the next: usage is linear in it, so the totals at its ends bound it. */
class GridWindows implements Windows {
  readonly count: number;
  readonly widthMs: number;
  readonly #placement: Placement;
  readonly #totals: Float64Array;
  /** What series that die within the window would have reached at its end. */
  #beyond: Float64Array | undefined;

  constructor(placement: Placement) {
    const { clock } = placement.trace;
    if (clock.kind !== 'grid') throw new TypeError('a grid is needed');
    this.#placement = placement;
    this.count = clock.columns;
    this.widthMs = clock.stepMs;
    this.#totals = new Float64Array(clock.columns + 1);
  }

  clear(): void {
    this.#totals.fill(0);
    this.#beyond?.fill(0);
  }

  boundBytes(window: number): number {
    const end = this.#totals[window + 1]! + (this.#beyond === undefined ? 0 : this.#beyond[window]!);
    return Math.max(this.#totals[window]!, end);
  }

  openingBytes(window: number): number {
    return this.#totals[window]!;
  }

  hiddenBytes(window: number): number {
    return this.#beyond === undefined || this.#beyond[window] === 0 ? 0 : this.boundBytes(window);
  }

  add(series: number, deathMs: number): number {
    const { trace, firstRun } = this.#placement;
    const { usageBytes, runs } = trace;
    const columns = this.#liveColumns(deathMs);
    let samples = 0;
    for (let run = firstRun[series]!; run < firstRun[series + 1]!; run++) {
      const first = runs.firstColumn[run]!;
      const count = Math.min(runs.count[run]!, columns - first);
      if (count <= 0) break;
      addColumns(this.#totals, first, usageBytes, runs.from[run]!, count);
      samples += count;
      if (count < runs.count[run]!) this.#reach(columns - 1, usageBytes[runs.from[run]! + count]!);
    }
    return samples;
  }

  remove(series: number, fromWindow: number, deathMs: number): void {
    const { trace, firstRun } = this.#placement;
    const { usageBytes, runs } = trace;
    const columns = this.#liveColumns(deathMs);
    for (let run = firstRun[series]!; run < firstRun[series + 1]!; run++) {
      const first = runs.firstColumn[run]!;
      const from = runs.from[run]!;
      const count = Math.min(runs.count[run]!, columns - first);
      for (let at = Math.max(0, fromWindow - first); at < count; at++)
        this.#totals[first + at]! -= usageBytes[from + at]!;
      if (count > 0 && count < runs.count[run]! && columns - 1 >= fromWindow)
        this.#reach(columns - 1, -usageBytes[from + count]!);
    }
  }

  /** Columns before the moment of death. */
  #liveColumns(deathMs: number): number {
    return deathMs === Number.POSITIVE_INFINITY ? this.count : Math.min(this.count, Math.ceil(deathMs / this.widthMs));
  }

  #reach(window: number, bytes: number): void {
    this.#beyond ??= new Float64Array(this.count);
    this.#beyond[window]! += bytes;
  }
}

function addColumns(totals: Float64Array, first: number, usageBytes: Float32Array, from: number, count: number): void {
  const shift = first - from;
  const end = from + count;
  for (let at = from; at < end; at++) totals[at + shift]! += usageBytes[at]!;
}

/** Windows of a few samples each: what bounds one is the sum of each series' largest sample that touches it. */
class StampWindows implements Windows {
  readonly count: number;
  readonly widthMs: number;
  readonly #placement: Placement;
  readonly #timesMs: Float64Array;
  readonly #bounds: Float64Array;

  constructor(placement: Placement) {
    const { clock, spanMs } = placement.trace;
    if (clock.kind !== 'stamps') throw new TypeError('samples with moments of their own are needed');
    this.#placement = placement;
    this.#timesMs = clock.timesMs;
    let aliveMs = 0;
    for (let run = 0; run < placement.runStartMs.length; run++)
      aliveMs += placement.runEndMs[run]! - placement.runStartMs[run]!;
    // Eight samples of a series touch a window, so writing bounds costs an eighth of reading; a million windows at most.
    const ofSamples = (8 * aliveMs) / Math.max(1, clock.timesMs.length);
    this.widthMs = Math.max(1, Math.ceil(ofSamples), Math.ceil(spanMs / 2 ** 20));
    this.count = Math.floor(spanMs / this.widthMs) + 1;
    this.#bounds = new Float64Array(this.count);
  }

  clear(): void {
    this.#bounds.fill(0);
  }

  boundBytes(window: number): number {
    return this.#bounds[window]!;
  }

  openingBytes(): number {
    return 0;
  }

  hiddenBytes(window: number): number {
    return this.#bounds[window]!;
  }

  add(series: number, deathMs: number): number {
    return this.#apply(series, 1, 0, deathMs);
  }

  remove(series: number, fromWindow: number, deathMs: number): void {
    this.#apply(series, -1, fromWindow, deathMs);
  }

  #apply(series: number, sign: 1 | -1, fromWindow: number, deathMs: number): number {
    const { trace, firstRun } = this.#placement;
    const { usageBytes, runs } = trace;
    let samples = 0;
    for (let run = firstRun[series]!; run < firstRun[series + 1]!; run++) {
      const from = runs.from[run]!;
      if (this.#timesMs[from]! >= deathMs) break;
      samples += this.#applyRun(usageBytes, from, from + runs.count[run]!, sign, fromWindow, deathMs);
    }
    return samples;
  }

  #applyRun(
    usageBytes: Float32Array,
    from: number,
    end: number,
    sign: 1 | -1,
    fromWindow: number,
    deathMs: number,
  ): number {
    const { widthMs } = this;
    const bounds = this.#bounds;
    const timesMs = this.#timesMs;
    const lastWindow =
      deathMs === Number.POSITIVE_INFINITY
        ? this.count - 1
        : Math.min(this.count - 1, Math.floor((deathMs - 1) / widthMs));
    let window = Math.floor(timesMs[from]! / widthMs);
    let windowEndMs = (window + 1) * widthMs;
    let previous = usageBytes[from]!;
    let most = previous;
    let at = from + 1;
    for (; at < end && window <= lastWindow; at++) {
      const value = usageBytes[at]!;
      const timeMs = timesMs[at]!;
      if (timeMs >= windowEndMs) {
        const across = Math.max(previous, value);
        if (window >= fromWindow) bounds[window]! += sign * Math.max(most, value);
        const next = Math.floor(timeMs / widthMs);
        for (window++; window < next && window <= lastWindow; window++)
          if (window >= fromWindow) bounds[window]! += sign * across;
        windowEndMs = (window + 1) * widthMs;
        most = across;
      } else if (value > most) most = value;
      previous = value;
    }
    if (window <= lastWindow && window >= fromWindow) bounds[window]! += sign * most;
    return at - from;
  }
}
