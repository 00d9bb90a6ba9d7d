import type { RunHeader } from '../engine/observation.ts';
import type { MemoryLine } from '../host/supervision.ts';

/** All series sampled at the same moments: column k is at `k * stepMs`. */
export interface Grid {
  readonly kind: 'grid';
  readonly stepMs: number;
  readonly columns: number;
}

/** Each sample has a moment of its own: `timesMs[j]` belongs to `usageBytes[j]`. */
export interface Stamps {
  readonly kind: 'stamps';
  readonly timesMs: Float64Array;
}

/**
 * Stretches without a gap, in columns: run r holds samples `from[r]` to `from[r] + count[r] - 1` of series `series[r]`,
 * which is running from the first to the last of them and at no other time (unless another run of it says so). Ordered
 * by series, then time, so a series' samples are contiguous. On a grid `firstColumn[r]` is the column of its first sample.
 */
export interface Runs {
  readonly series: Int32Array;
  readonly from: Int32Array;
  readonly count: Int32Array;
  readonly firstColumn: Int32Array;
}

/**
 * Recorded memory usage of many containers: the one form that every importer produces. Times are whole milliseconds
 * from the beginning of the trace. Usage is kept as whole bytes in single precision, so that sums in double precision
 * are exact in any order; between two samples of a run usage is linear.
 */
export interface Trace {
  readonly title: string;
  /** Which importer made it. */
  readonly importer: string;
  readonly names: readonly string[];
  /** What each container asked for; NaN where the source does not say. */
  readonly requestBytes: Float64Array;
  /** The source's machine of each series, from 0; null where it says nothing of machines. */
  readonly machineOf: Int32Array | null;
  /** Names of the source's machines, by index. */
  readonly machineNames: readonly string[];
  /** Kubernetes' sense; null where the source has none. */
  readonly priority: Float64Array | null;
  /** Under which line each machine was recorded, by its index; empty for what is no recording of Plimsoll's. */
  readonly lines: readonly (MemoryLine | null)[];
  /** The run that a recording is of; null for what is no recording of Plimsoll's. */
  readonly recorded: RecordedRun | null;
  readonly clock: Grid | Stamps;
  readonly usageBytes: Float32Array;
  readonly runs: Runs;
  /** Container time that nobody saw: what is assumed of containers that were killed while recording. */
  readonly assumedMs: number;
  /** Moment of the last sample. */
  readonly spanMs: number;
  /** Files of the source that say nothing a replay needs, and lines that were passed over, in words. */
  readonly notes: readonly string[];
}

/** The first line of a recording. With a scenario in it, its replay can be exact. */
export type RecordedRun = Pick<
  RunHeader,
  'title' | 'backend' | 'policy' | 'policyOverride' | 'seed' | 'commit' | 'scenario'
>;

/** What a source says besides its samples. */
export type TraceFacts = Pick<Trace, 'title' | 'importer' | 'names' | 'requestBytes'> &
  Partial<Pick<Trace, 'machineOf' | 'machineNames' | 'priority' | 'lines' | 'recorded' | 'assumedMs' | 'notes'>>;

/** The priorities of a trace; 0 where only others have one, null where nobody has (NaN). */
export const prioritiesOf = (series: readonly { readonly priority: number }[]): Float64Array | null =>
  series.every(({ priority }) => Number.isNaN(priority))
    ? null
    : Float64Array.from(series, ({ priority }) => (Number.isNaN(priority) ? 0 : priority));

/** More than any machine has (1 PiB), and few enough that a million of them still sum exactly. */
export const MOST_BYTES = 2 ** 50;

/** The runs, first and last moments of a trace, whatever its clock. */
export function runTimes({ clock, runs }: Pick<Trace, 'clock' | 'runs'>): {
  startMs: Float64Array;
  endMs: Float64Array;
} {
  const startMs = new Float64Array(runs.series.length);
  const endMs = new Float64Array(runs.series.length);
  for (let run = 0; run < runs.series.length; run++) {
    if (clock.kind === 'grid') {
      startMs[run] = runs.firstColumn[run]! * clock.stepMs;
      endMs[run] = (runs.firstColumn[run]! + runs.count[run]! - 1) * clock.stepMs;
    } else {
      startMs[run] = clock.timesMs[runs.from[run]!]!;
      endMs[run] = clock.timesMs[runs.from[run]! + runs.count[run]! - 1]!;
    }
  }
  return { startMs, endMs };
}

/** Completes a trace from its samples and what the source says besides. */
export function makeTrace(facts: TraceFacts, samples: Pick<Trace, 'clock' | 'usageBytes' | 'runs' | 'spanMs'>): Trace {
  return {
    machineOf: null,
    machineNames: [],
    priority: null,
    lines: [],
    recorded: null,
    assumedMs: 0,
    notes: [],
    ...facts,
    ...samples,
  };
}
