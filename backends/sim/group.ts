import type { MemoryStat } from '../../src/host/cgroups.ts';
import { KIB } from '../../src/host/units.ts';
import { Charge, inPages, inSteps, PAGE_BYTES } from './charge.ts';
import type { Task } from './task.ts';

/**
 * Steps in which a cgroup's counter moves. v1: 64 pages, MEMCG_CHARGE_BATCH of mm/memcontrol.c (try_charge takes that
 * many and keeps the rest in a stock), as measured. v2 is modelled exact to the page.
 */
const COUNTER_STEP_BYTES = { 1: 256 * KIB, 2: PAGE_BYTES } as const;

/** Floating point leaves this much between a total and the limit it has met. */
const SAME_BYTES = 1;

/** A memory cgroup: what is charged to it and everything under it. */
export class Group {
  readonly path: string;
  readonly parent: Group | null;
  /** In order of creation: the order in which the kernel walks them. */
  readonly children: Group[] = [];
  readonly charges: Charge[] = [];
  /** Living processes' owners, in order of start. */
  readonly tasks: Task[] = [];
  /** Processes on their way out: they still make it populated. */
  dyingCount = 0;
  limitBytes = Number.POSITIVE_INFINITY;
  peakBytes = 0;
  oomKills = 0;
  removed = false;
  /** As of the last survey: bytes charged, and bytes a millisecond. */
  readonly surveyed = { bytes: 0, slope: 0 };
  readonly #stepBytes: number;
  #residue: Charge | null = null;

  constructor(path: string, parent: Group | null, version: 1 | 2) {
    this.path = path;
    this.parent = parent;
    this.#stepBytes = COUNTER_STEP_BYTES[version];
  }

  /** What nobody living holds: file cache of the dead, and tmpfs. */
  residue(nowMs: number): Charge {
    if (this.#residue === null) {
      this.#residue = new Charge(nowMs, true);
      this.charges.push(this.#residue);
    }
    this.#residue.settle(nowMs);
    return this.#residue;
  }

  /**
   * The counter, as read. Near the limit the kernel drains its stocks and charges page by page (try_charge_memcg,
   * drain_all_stock), so it never reads past the limit.
   */
  counterBytes(nowMs: number): number {
    let own = 0;
    for (const charge of this.charges) own += charge.bytesAt(nowMs);
    let total = inSteps(own, this.#stepBytes);
    for (const child of this.children) total += child.counterBytes(nowMs);
    return this.#read(total, nowMs);
  }

  #read(total: number, nowMs: number): number {
    return total > this.limitBytes ? Math.max(this.limitBytes, inPages(this.bytesAt(nowMs) - SAME_BYTES)) : total;
  }

  /** What is really charged, without steps: what limits are held against. */
  bytesAt(nowMs: number): number {
    let total = 0;
    for (const charge of this.charges) total += charge.bytesAt(nowMs);
    for (const child of this.children) total += child.bytesAt(nowMs);
    return total;
  }

  /** Adds everything under it to `into`, in whole pages. */
  addStat(nowMs: number, into: MemoryStat): void {
    for (const charge of this.charges) {
      const passedMs = nowMs - charge.sinceMs;
      const held = inPages(charge.heldBytes + charge.heldSlope * passedMs);
      const inactive = inPages(charge.inactiveBytes + charge.inactiveSlope * passedMs);
      const active = inPages(charge.activeBytes + charge.activeSlope * passedMs);
      if (charge.shared) into.shmemBytes += held;
      else into.anonBytes += held;
      into.fileBytes += charge.shared ? held + inactive + active : inactive + active;
      into.inactiveFileBytes += inactive;
    }
    for (const child of this.children) child.addStat(nowMs, into);
  }

  /** Notes the counter as a peak, here and below, and returns it: called at the ends of pieces, between which nothing is higher. */
  notePeaks(nowMs: number): number {
    let own = 0;
    for (const charge of this.charges) own += charge.bytesAt(nowMs);
    let total = inSteps(own, this.#stepBytes);
    for (const child of this.children) total += child.notePeaks(nowMs);
    const bytes = this.#read(total, nowMs);
    if (bytes > this.peakBytes) this.peakBytes = bytes;
    return bytes;
  }

  /** Notes what is charged and how fast it grows, here and below, for `surveyed`: one walk for all limits. */
  survey(nowMs: number): void {
    let bytes = 0;
    let slope = 0;
    for (const charge of this.charges) {
      bytes += charge.bytesAt(nowMs);
      slope += charge.slope;
    }
    for (const child of this.children) {
      child.survey(nowMs);
      bytes += child.surveyed.bytes;
      slope += child.surveyed.slope;
    }
    this.surveyed.bytes = bytes;
    this.surveyed.slope = slope;
  }

  /** Does a process live in it or under it? A dying one lives. */
  isPopulated(): boolean {
    return this.tasks.length > 0 || this.dyingCount > 0 || this.children.some((child) => child.isPopulated());
  }

  /** How many live in it itself. */
  get processes(): number {
    return this.tasks.reduce((count, task) => count + task.alive, this.dyingCount);
  }

  isDying(): boolean {
    return this.dyingCount > 0 || this.children.some((child) => child.isDying());
  }

  /** Adds every charge of it and under it to `into`. */
  collectCharges(into: Charge[]): Charge[] {
    for (const charge of this.charges) into.push(charge);
    for (const child of this.children) child.collectCharges(into);
    return into;
  }

  /** It and everything under it, parents first: the kernel's own order (css_for_each_descendant_pre). */
  *subtree(): Generator<Group> {
    yield this;
    for (const child of this.children) yield* child.subtree();
  }

  /** How many cgroups are above it. */
  get depth(): number {
    return this.parent === null ? 0 : this.parent.depth + 1;
  }
}
