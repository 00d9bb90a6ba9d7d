import { MIB } from '../../src/host/units.ts';
import type { Workload } from '../../src/host/workload.ts';
import { Charge } from './charge.ts';
import { Group } from './group.ts';
import { crossingMs, isPast, relieve } from './pressure.ts';
import { Task } from './task.ts';

/** Measured on kernel 6.18: from SIGKILL to freed, 5 ms per 64 MB (exit_mmap frees page by page, on one CPU). */
const DEATH_MS_PER_BYTE = 5 / (64 * MIB);

/** A process that holds nothing is gone within a tick of the scheduler. */
const DEATH_MS_MIN = 1;

/** Processes on their way out together. */
interface Dying {
  readonly group: Group;
  readonly charge: Charge;
  readonly count: number;
}

/**
 * The memory of one machine: cgroups, what is charged to them, their limits, and the kernel's way out when one is hit.
 * Time is lazy: `advance` handles, in order, whatever happened since; between two such moments everything is linear.
 */
export class Memory {
  readonly root: Group;
  readonly version: 1 | 2;
  readonly tasks = new Set<Task>();
  /** Grows whenever a cgroup comes or goes. */
  shape = 0;
  readonly #cpus: number;
  readonly #groups = new Map<string, Group>();
  readonly #dying = new Set<Dying>();
  /** Those with a limit, the deepest first: the kernel meets the leaf's own limit before its parent's. */
  #limited: Group[] = [];
  #nextMs = Number.POSITIVE_INFINITY;

  constructor(ramBytes: number, cpus: number, version: 1 | 2) {
    this.version = version;
    this.#cpus = cpus;
    this.root = new Group('', null, version);
    this.root.limitBytes = ramBytes;
    this.#groups.set('', this.root);
    this.#orderLimited();
  }

  group(path: string): Group | undefined {
    return this.#groups.get(path);
  }

  /** Handles everything that happened up to now. */
  advance(nowMs: number): void {
    while (this.#nextMs <= nowMs) this.#turn(this.#nextMs);
  }

  add(path: string, parent: Group): void {
    const group = new Group(path, parent, this.version);
    parent.children.push(group);
    this.#groups.set(path, group);
    this.shape++;
  }

  /**
   * Takes an empty cgroup out. Its file cache stays charged to the parent until reclaimed, its tmpfs files until they
   * are removed: a dead memcg's counters remain in its ancestors'.
   */
  remove(group: Group, nowMs: number): void {
    const left = group.residue(nowMs);
    const heir = group.parent!.residue(nowMs);
    heir.inactiveBytes += left.inactiveBytes;
    heir.activeBytes += left.activeBytes;
    heir.heldBytes += left.heldBytes;
    group.parent!.children.splice(group.parent!.children.indexOf(group), 1);
    group.removed = true;
    this.#groups.delete(group.path);
    this.shape++;
    this.#orderLimited();
    this.#turn(nowMs);
  }

  /** Sets the limit and acts on it at once, as far as the kernel would: `reclaim` first, then (v2) its own kills. */
  setLimit(group: Group, limitBytes: number, nowMs: number): void {
    group.limitBytes = limitBytes;
    this.#orderLimited();
    this.#turn(nowMs);
  }

  /** Starts one container's processes. They truncate the files that earlier ones of this cgroup left. */
  start(group: Group, workload: Workload, nowMs: number): void {
    const task = new Task(group, workload, nowMs);
    const left = group.residue(nowMs);
    if (workload.shared === true) left.heldBytes = 0;
    if (workload.cache !== undefined) {
      left.inactiveBytes = 0;
      left.activeBytes = 0;
    }
    group.tasks.push(task);
    group.charges.push(task.charge);
    this.tasks.add(task);
    task.follow(nowMs);
    this.#turn(nowMs);
    // Even a process that touches nothing has a stack and page tables: its cgroup has been charged a first step.
    for (let up: Group | null = group; up !== null; up = up.parent) up.peakBytes = Math.max(up.peakBytes, 1);
  }

  /** SIGKILL to everything in it and under it. */
  kill(group: Group, nowMs: number): void {
    for (const member of group.subtree()) for (const task of member.tasks.slice()) this.reap(task, task.alive, nowMs);
    this.#turn(nowMs);
  }

  /** Sends `count` processes of a task out: their memory goes bit by bit, tmpfs and file cache stay. */
  reap(task: Task, count: number, nowMs: number): void {
    const { group, charge } = task;
    charge.settle(nowMs);
    const bytes = (charge.heldBytes * count) / task.alive;
    charge.heldBytes -= bytes;
    task.alive -= count;
    const leaving = new Charge(nowMs, false);
    if (charge.shared) group.residue(nowMs).heldBytes += bytes;
    else leaving.heldBytes = bytes;
    const overMs = Math.max(DEATH_MS_MIN, (bytes * DEATH_MS_PER_BYTE) / Math.min(count, this.#cpus));
    leaving.heldSlope = -leaving.heldBytes / overMs;
    leaving.untilMs = nowMs + overMs;
    group.charges.push(leaving);
    group.dyingCount += count;
    this.#dying.add({ group, charge: leaving, count });
    if (task.alive > 0) {
      task.follow(nowMs);
      return;
    }
    const left = group.residue(nowMs);
    left.inactiveBytes += charge.inactiveBytes;
    left.activeBytes += charge.activeBytes;
    this.tasks.delete(task);
    group.tasks.splice(group.tasks.indexOf(task), 1);
    group.charges.splice(group.charges.indexOf(charge), 1);
  }

  /** When the last process now dying in it or under it will be gone; now, if none is. */
  goneMs(group: Group, nowMs: number): number {
    const members = new Set(group.subtree());
    let goneMs = nowMs;
    for (const { group: of, charge } of this.#dying) if (members.has(of)) goneMs = Math.max(goneMs, charge.untilMs);
    return goneMs;
  }

  /** The moment at which something happens: a piece ends, a process is gone, a limit is met. */
  #turn(nowMs: number): void {
    this.root.notePeaks(nowMs);
    for (const dying of this.#dying) if (dying.charge.untilMs <= nowMs) this.#bury(dying);
    for (const task of this.tasks) {
      if (task.charge.untilMs > nowMs) continue;
      if (task.endsAtMs <= nowMs) this.reap(task, task.alive, nowMs);
      else task.follow(nowMs);
    }
    this.root.survey(nowMs);
    for (const group of this.#limited) {
      if (!isPast(group)) continue;
      relieve(this, group, nowMs);
      this.root.survey(nowMs);
    }
    this.#nextMs = this.#next(nowMs);
  }

  #bury(dying: Dying): void {
    const { group, charge, count } = dying;
    this.#dying.delete(dying);
    group.charges.splice(group.charges.indexOf(charge), 1);
    group.dyingCount -= count;
  }

  #next(nowMs: number): number {
    let nextMs = Number.POSITIVE_INFINITY;
    for (const task of this.tasks) if (task.charge.untilMs < nextMs) nextMs = task.charge.untilMs;
    for (const { charge } of this.#dying) if (charge.untilMs < nextMs) nextMs = charge.untilMs;
    for (const group of this.#limited) {
      const atMs = crossingMs(group, nowMs);
      if (atMs < nextMs) nextMs = atMs;
    }
    return nextMs;
  }

  #orderLimited(): void {
    this.#limited = [...this.#groups.values()]
      .filter((group) => group.limitBytes !== Number.POSITIVE_INFINITY)
      .sort((a, b) => b.depth - a.depth);
  }
}
