import type { MemoryLine } from '../host/supervision.ts';

/**
 * What a policy reads. `excess`: working sets of those over their request (for the others usage, cache included, will
 * do: it is within the request); `workingSet` and `rss`: of all, which costs a read of `memory.stat` each. A trace
 * that lacks a signal is refused for that policy, not scored.
 */
export type Signal = 'excess' | 'workingSet' | 'rss' | 'priority' | 'pressure';

/** One machine at one moment, in columns: index i is one container in every array. Valid only during the call. */
export interface Snapshot {
  readonly count: number;
  readonly names: readonly string[];
  readonly requestBytes: Float64Array;
  /** Usage less inactive file cache; where only `excess` is needed, plain usage for those within their request. */
  readonly workingSetBytes: Float64Array;
  /** Anonymous memory alone, for policies that need `rss`; else 0. */
  readonly rssBytes: Float64Array;
  readonly priority: Float64Array;
  /** 1 where a kill would do something: it lives, and no signal is under way to it. */
  readonly killable: Uint8Array;
  /** The parent's working set, less what signalled victims still hold. */
  readonly totalBytes: number;
  readonly line: MemoryLine;
  /** Already killed in this look: above 0, killing goes on until `stopAtBytes`. */
  readonly killedInLook: number;
}

/** A container to kill, by its index in the snapshot, and why, in words. */
export interface Victim {
  readonly index: number;
  readonly reason: string;
}

/** Limits for the kernel: null is no limit. `childBytes[i]` belongs to the i-th request. */
export interface KernelLimits {
  readonly parentBytes: number | null;
  readonly childBytes: readonly (number | null)[];
}

/** A memory policy: pure, so that one file serves a unit test, a sweep over a million containers, and the daemon. */
export interface MemoryPolicy {
  readonly name: string;
  /** One line for people. */
  readonly about: string;
  readonly needs: readonly Signal[];
  /** What the kernel enforces by itself, whatever the supervisor does. */
  limits(requestBytes: readonly number[], line: MemoryLine): KernelLimits;
  /** A look begins to decide only when the total is past this; without it, every look does. */
  actsAboveBytes?(line: MemoryLine): number;
  /**
   * More usage, or more containers, never turn a victim into nobody. Where a replay of coarse samples has shown that the
   * most a stretch can hold makes it name nobody, it need not ask at every look of the stretch.
   */
  readonly monotone?: boolean;
  /** Whom to kill now; after the kills usage is read afresh and it is asked again, until it names nobody. Absent: the kernel alone acts. */
  decide?(snapshot: Snapshot): readonly Victim[];
}
