/** A page: what the kernel charges and limits count in. */
export const PAGE_BYTES = 4096;

/**
 * Memory charged to one cgroup by one owner (the living processes of a container, one dying process, or what the dead
 * left behind) as straight pieces in time: every field is a value at `sinceMs` and a slope in bytes a millisecond that
 * holds until `untilMs`. Reading it later is arithmetic, so nothing happens between the ends of pieces.
 */
export class Charge {
  sinceMs: number;
  untilMs = Number.POSITIVE_INFINITY;
  /** What only death gives back; shmem where `shared`. */
  heldBytes = 0;
  heldSlope = 0;
  inactiveBytes = 0;
  inactiveSlope = 0;
  activeBytes = 0;
  activeSlope = 0;
  /** tmpfs: counted as file and shmem, not as anonymous, and it outlives its writer. */
  readonly shared: boolean;

  constructor(nowMs: number, shared: boolean) {
    this.sinceMs = nowMs;
    this.shared = shared;
  }

  /** Moves the values to now. Slopes stay. */
  settle(nowMs: number): void {
    const passedMs = nowMs - this.sinceMs;
    if (passedMs <= 0) return;
    this.sinceMs = nowMs;
    this.heldBytes = Math.max(0, this.heldBytes + this.heldSlope * passedMs);
    this.inactiveBytes += this.inactiveSlope * passedMs;
    this.activeBytes += this.activeSlope * passedMs;
  }

  /** No growth until the given time: whoever would charge is waiting in the kernel. */
  stop(untilMs: number): void {
    this.heldSlope = 0;
    this.inactiveSlope = 0;
    this.activeSlope = 0;
    this.untilMs = untilMs;
  }

  bytesAt(nowMs: number): number {
    const passedMs = nowMs - this.sinceMs;
    return this.heldBytes + this.inactiveBytes + this.activeBytes + this.slope * passedMs;
  }

  get slope(): number {
    return this.heldSlope + this.inactiveSlope + this.activeSlope;
  }
}

/** What floating point adds to a sum of whole pages is no page of its own. */
const ROUNDING_BYTES = 1 / 1024;

/** The bytes in whole pages. */
export const inPages = (bytes: number): number => inSteps(bytes, PAGE_BYTES);

/** The bytes in whole steps. */
export const inSteps = (bytes: number, stepBytes: number): number =>
  bytes <= ROUNDING_BYTES ? 0 : Math.ceil((bytes - ROUNDING_BYTES) / stepBytes) * stepBytes;
