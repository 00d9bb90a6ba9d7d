import { GIB } from '../../src/host/units.ts';
import {
  cachePieces,
  memoryPieces,
  pieceAt,
  type Piece,
  type PiecewiseLinear,
  type Workload,
} from '../../src/host/workload.ts';
import { Charge } from './charge.ts';
import type { Group } from './group.ts';

/**
 * How fast a process can touch new memory: 2.45 GiB/s measured for one that fills a fresh buffer (kernel 6.18, 256 MiB).
 * A curve that jumps is followed at this speed, so that a limit is met on the way, with what is there at that moment.
 */
const TOUCH_BYTES_PER_MS = (2 * GIB) / 1000;

/** Floating point leaves this much between a value and the curve it follows. */
const SAME_BYTES = 1;

/**
 * Past the rounding of an age, so that the end of a piece is never taken for its inside again: 2 to 4 times the distance
 * of neighbouring numbers at this time, which passes a nanosecond in the first year.
 */
const nudgeMs = (nowMs: number): number => Math.max(1e-6, nowMs * 2 * Number.EPSILON);

const piece: Piece = { value: 0, slope: 0, untilMs: 0 };

/** The living processes of one container, following its workload. */
export class Task {
  readonly group: Group;
  readonly charge: Charge;
  readonly bornMs: number;
  readonly endsAtMs: number;
  readonly processes: number;
  alive: number;
  /** Until then it waits in the kernel for a victim to be gone. */
  stalledUntilMs = 0;
  readonly #memory: PiecewiseLinear;
  readonly #cache: PiecewiseLinear;
  readonly #activeShare: number;

  constructor(group: Group, workload: Workload, nowMs: number) {
    this.group = group;
    this.charge = new Charge(nowMs, workload.shared ?? false);
    this.bornMs = nowMs;
    this.endsAtMs = nowMs + (workload.endsAfterMs ?? Number.POSITIVE_INFINITY);
    this.processes = workload.processes ?? 1;
    this.alive = this.processes;
    this.#memory = memoryPieces(workload.memory);
    this.#cache = cachePieces(workload.cache);
    this.#activeShare = workload.cache?.activeShare ?? 0;
  }

  /**
   * What one of its processes has resident: the kernel's badness (oom_badness, mm/oom_kill.c). Files on tmpfs that are
   * written and not mapped, as the containers' are, belong to no process: the kernel does not see whose they are.
   */
  residentBytes(nowMs: number): number {
    this.charge.settle(nowMs);
    return this.charge.shared ? 0 : this.charge.heldBytes / this.alive;
  }

  /** Begins the straight piece that holds from now. */
  follow(nowMs: number): void {
    const { charge } = this;
    charge.settle(nowMs);
    if (this.stalledUntilMs > nowMs) {
      charge.stop(Math.min(this.stalledUntilMs, this.endsAtMs));
      return;
    }
    let untilMs = this.#pieceAt(this.#cache, nowMs);
    charge.inactiveSlope = piece.slope * (1 - this.#activeShare);
    charge.activeSlope = piece.slope * this.#activeShare;

    untilMs = Math.min(untilMs, this.#pieceAt(this.#memory, nowMs));
    const living = this.alive / this.processes;
    const missing = piece.value * living - charge.heldBytes;
    const slope = Math.min(piece.slope * living, TOUCH_BYTES_PER_MS);
    if (missing > SAME_BYTES) {
      charge.heldSlope = TOUCH_BYTES_PER_MS;
      if (slope < TOUCH_BYTES_PER_MS) untilMs = Math.min(untilMs, nowMs + missing / (TOUCH_BYTES_PER_MS - slope));
    } else {
      charge.heldBytes = piece.value * living;
      charge.heldSlope = slope;
    }
    charge.untilMs = Math.min(Math.max(untilMs, nowMs + nudgeMs(nowMs)), this.endsAtMs);
  }

  /** Fills `piece` and returns the time until which it holds, always later than now. */
  #pieceAt(curve: PiecewiseLinear, nowMs: number): number {
    let ageMs = nowMs - this.bornMs;
    pieceAt(curve, ageMs, piece);
    while (this.bornMs + piece.untilMs <= nowMs) {
      ageMs = Math.max(ageMs, piece.untilMs) + nudgeMs(nowMs);
      pieceAt(curve, ageMs, piece);
    }
    return this.bornMs + piece.untilMs;
  }
}
