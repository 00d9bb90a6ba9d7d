import { formatBytes } from '../host/units.ts';
import type { MemoryPolicy, Snapshot, Victim } from '../memory/policy.ts';
import { ReplayError } from './errors.ts';
import type { PlacedMachine, Placement } from './placement.ts';
import type { ReplayKill } from './replay.ts';
import { firstAbove, MachineUsage } from './usage.ts';
import type { Windows } from './windows.ts';

/** What came of one machine. */
export interface MachineOutcome {
  readonly kills: readonly ReplayKill[];
  readonly samples: number;
  readonly peakTotalBytes: number;
  readonly overHardLimitMs: number;
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** The closed loop on one machine: bounds first, then exactly, but only where the bound leaves room for something to happen. */
export class MachineReplay {
  readonly #placement: Placement;
  readonly #machine: PlacedMachine;
  readonly #policy: MemoryPolicy;
  readonly #windows: Windows;
  readonly #deathMs: Float64Array;
  readonly #usage: MachineUsage;
  /** Only a total past this can make a look decide; Infinity where the policy never decides. */
  readonly #actsAboveBytes: number;
  readonly #parentBytes: number;
  readonly #childBytes: readonly (number | null)[];
  readonly #kills: ReplayKill[] = [];
  readonly #snapshot: Mutable<Snapshot>;
  #peakTotalBytes = 0;
  #overHardLimitMs = 0;

  constructor(
    placement: Placement,
    machine: PlacedMachine,
    policy: MemoryPolicy,
    windows: Windows,
    deathMs: Float64Array,
  ) {
    this.#placement = placement;
    this.#machine = machine;
    this.#policy = policy;
    this.#windows = windows;
    this.#deathMs = deathMs;
    this.#usage = new MachineUsage(placement, machine, deathMs);
    const { line } = machine;
    const requests = Array.from(machine.series, (series) => placement.requestBytes[series]!);
    const limits = asked(policy, () => policy.limits(requests, line));
    this.#parentBytes = limits.parentBytes ?? Number.POSITIVE_INFINITY;
    this.#childBytes = limits.childBytes;
    this.#actsAboveBytes = policy.decide
      ? asked(policy, () => policy.actsAboveBytes?.(line) ?? Number.NEGATIVE_INFINITY)
      : Number.POSITIVE_INFINITY;
    this.#snapshot = {
      count: 0,
      names: [],
      requestBytes: new Float64Array(0),
      workingSetBytes: new Float64Array(0),
      rssBytes: new Float64Array(0),
      priority: new Float64Array(0),
      killable: new Uint8Array(0),
      totalBytes: 0,
      line,
      killedInLook: 0,
    };
  }

  /** Runs the machine from the first moment of the trace to its last. */
  run(): MachineOutcome {
    const { series, line } = this.#machine;
    const windows = this.#windows;
    let samples = 0;
    for (let index = 0; index < series.length; index++) {
      const limitBytes = this.#childBytes[index];
      if (typeof limitBytes === 'number')
        this.#deathMs[series[index]!] = firstAbove(this.#placement, series[index]!, limitBytes);
      samples += windows.add(series[index]!, this.#deathMs[series[index]!]!);
    }
    const ownLimits = this.#childBytes.map((limitBytes, index) =>
      limitBytes === null ? Number.POSITIVE_INFINITY : this.#deathMs[series[index]!]!,
    );

    const quietBytes = Math.min(line.hardLimitBytes, this.#actsAboveBytes, this.#parentBytes);
    for (let window = 0; window < windows.count; window++) {
      const openingBytes = windows.openingBytes(window);
      if (openingBytes > this.#peakTotalBytes) this.#peakTotalBytes = openingBytes;
      // Rounding may lift a total by a byte for each container.
      const boundBytes = windows.boundBytes(window) + series.length;
      if (boundBytes > quietBytes || windows.hiddenBytes(window) > this.#peakTotalBytes) this.#pass(window);
    }

    for (const [index, deathMs] of ownLimits.entries())
      if (deathMs !== Number.POSITIVE_INFINITY && this.#deathMs[series[index]!] === deathMs)
        this.#recordOwnLimit(index, deathMs);
    return {
      kills: this.#kills.sort((a, b) => a.atMs - b.atMs),
      samples,
      peakTotalBytes: this.#peakTotalBytes,
      overHardLimitMs: this.#overHardLimitMs,
    };
  }

  /** Goes through one window, event by event. */
  #pass(window: number): void {
    const { lookEveryMs } = this.#machine.line;
    const { widthMs } = this.#windows;
    const lastMs = Math.min((window + 1) * widthMs - 1, this.#placement.trace.spanMs);
    let fromMs = window * widthMs;
    let look = Math.ceil(fromMs / lookEveryMs);
    this.#usage.enter(fromMs, lastMs);
    for (;;) {
      const decided = this.#firstDecision(look, Math.floor(lastMs / lookEveryMs));
      const decidedMs = decided === undefined ? lastMs + 1 : decided.look * lookEveryMs;
      const overMs = this.#firstOverParent(fromMs, decidedMs - 1);
      if (overMs !== undefined) {
        this.#account(fromMs, overMs - 1);
        this.#kernelKills(overMs, window);
        fromMs = overMs;
        look = Math.floor(overMs / lookEveryMs) + 1;
      } else if (decided === undefined) {
        this.#account(fromMs, lastMs);
        return;
      } else {
        this.#account(fromMs, decidedMs - 1);
        this.#look(decidedMs, window);
        fromMs = decidedMs;
        look = decided.look + 1;
      }
    }
  }

  /** The first look, of these, at which the policy names somebody: by halves, leaving out those where it cannot. */
  #firstDecision(first: number, last: number): { look: number } | undefined {
    if (first > last || this.#actsAboveBytes === Number.POSITIVE_INFINITY) return undefined;
    const { lookEveryMs } = this.#machine.line;
    const { upperBytes } = this.#usage.measure(first * lookEveryMs, last * lookEveryMs);
    if (upperBytes <= this.#actsAboveBytes) return undefined;
    if (first === last || this.#policy.monotone === true) {
      this.#fill(upperBytes);
      if (this.#ask().length === 0) return undefined;
      if (first === last) return { look: first };
    }
    const middle = Math.floor((first + last) / 2);
    return this.#firstDecision(first, middle) ?? this.#firstDecision(middle + 1, last);
  }

  /** The first of these milliseconds at which the total is past the parent's limit. */
  #firstOverParent(firstMs: number, lastMs: number): number | undefined {
    if (firstMs > lastMs || this.#parentBytes === Number.POSITIVE_INFINITY) return undefined;
    if (this.#usage.measure(firstMs, lastMs).upperBytes <= this.#parentBytes) return undefined;
    if (firstMs === lastMs) return firstMs;
    const middleMs = Math.floor((firstMs + lastMs) / 2);
    return this.#firstOverParent(firstMs, middleMs) ?? this.#firstOverParent(middleMs + 1, lastMs);
  }

  /** Notes the peak and the time above the hard limit within these milliseconds, in which nobody is killed. */
  #account(firstMs: number, lastMs: number): void {
    if (firstMs > lastMs) return;
    const { hardLimitBytes } = this.#machine.line;
    const usage = this.#usage.measure(firstMs, lastMs);
    if (usage.upperBytes <= Math.min(hardLimitBytes, this.#peakTotalBytes)) return;
    if (usage.isStraight) {
      const { firstBytes, lastBytes, upperBytes, lowerBytes } = usage;
      this.#peakTotalBytes = Math.max(this.#peakTotalBytes, firstBytes, lastBytes);
      if (upperBytes <= hardLimitBytes) return;
      if (lowerBytes > hardLimitBytes) {
        this.#overHardLimitMs += lastMs - firstMs + 1;
        return;
      }
    }
    const middleMs = Math.floor((firstMs + lastMs) / 2);
    this.#account(firstMs, middleMs);
    this.#account(middleMs + 1, lastMs);
  }

  /** A look that is known to kill: asks until nobody is named. */
  #look(atMs: number, window: number): void {
    const snapshot = this.#snapshot;
    const usage = this.#usage.measure(atMs, atMs);
    this.#fill(usage.upperBytes);
    if (snapshot.totalBytes > this.#peakTotalBytes) this.#peakTotalBytes = snapshot.totalBytes;
    for (let victims = this.#ask(); victims.length > 0; victims = this.#ask()) {
      for (const { index, reason } of victims) {
        const bytes = snapshot.workingSetBytes[index]!;
        snapshot.totalBytes -= bytes;
        snapshot.workingSetBytes[index] = 0;
        snapshot.rssBytes[index] = 0;
        snapshot.killable[index] = 0;
        this.#kill(usage.series[index]!, atMs, bytes, reason, 'supervisor', window);
      }
      snapshot.killedInLook += victims.length;
    }
  }

  /** The kernel's OOM killer in the parent's cgroup: the largest, until the total fits. Ties: by name. */
  #kernelKills(atMs: number, window: number): void {
    const { names } = this.#placement.trace;
    const { count, series, mostBytes, upperBytes } = this.#usage.measure(atMs, atMs);
    let totalBytes = upperBytes;
    if (totalBytes > this.#peakTotalBytes) this.#peakTotalBytes = totalBytes;
    while (totalBytes > this.#parentBytes) {
      let largest = 0;
      for (let index = 1; index < count; index++) {
        const more = mostBytes[index]! - mostBytes[largest]!;
        if (more > 0 || (more === 0 && names[series[index]!]! < names[series[largest]!]!)) largest = index;
      }
      const bytes = mostBytes[largest]!;
      this.#kill(
        series[largest]!,
        atMs,
        bytes,
        `total ${formatBytes(totalBytes)} passes the limit of all, ${formatBytes(this.#parentBytes)}: the kernel takes the largest`,
        'kernel',
        window,
      );
      totalBytes -= bytes;
      mostBytes[largest] = -1;
    }
  }

  #recordOwnLimit(index: number, atMs: number): void {
    const { trace, firstRun, runStartMs, runEndMs } = this.#placement;
    const series = this.#machine.series[index]!;
    let run = firstRun[series]!;
    while (!(runStartMs[run]! <= atMs && atMs <= runEndMs[run]!)) run++;
    const bytes = this.#usage.at(run, atMs);
    this.#kills.push({
      atMs,
      container: trace.names[series]!,
      overBytes: bytes - this.#placement.requestBytes[series]!,
      reason: `usage ${formatBytes(bytes)} passes its own limit, ${formatBytes(this.#childBytes[index]!)}`,
      by: 'kernel',
      machine: this.#machine.name,
    });
  }

  #kill(series: number, atMs: number, bytes: number, reason: string, by: ReplayKill['by'], window: number): void {
    this.#windows.remove(series, window + 1, this.#deathMs[series]!);
    this.#deathMs[series] = atMs;
    this.#kills.push({
      atMs,
      container: this.#placement.trace.names[series]!,
      overBytes: bytes - this.#placement.requestBytes[series]!,
      reason,
      by,
      machine: this.#machine.name,
    });
  }

  /** Brings what was measured last before the policy's eyes. */
  #fill(totalBytes: number): void {
    const { count, series, mostBytes } = this.#usage;
    const { requestBytes, trace } = this.#placement;
    const snapshot = this.#snapshot;
    if (snapshot.killable.length < count) {
      for (const column of ['requestBytes', 'workingSetBytes', 'rssBytes', 'priority'] as const)
        snapshot[column] = new Float64Array(series.length);
      snapshot.killable = new Uint8Array(series.length);
    }
    const names = snapshot.names as string[];
    names.length = count;
    for (let index = 0; index < count; index++) {
      const one = series[index]!;
      names[index] = trace.names[one]!;
      snapshot.requestBytes[index] = requestBytes[one]!;
      snapshot.workingSetBytes[index] = mostBytes[index]!;
      // A trace that tells one figure of usage tells it for both.
      snapshot.rssBytes[index] = mostBytes[index]!;
      snapshot.priority[index] = trace.priority === null ? 0 : trace.priority[one]!;
      snapshot.killable[index] = mostBytes[index]! > 0 ? 1 : 0;
    }
    snapshot.count = count;
    snapshot.totalBytes = totalBytes;
    snapshot.killedInLook = 0;
  }

  #ask(): readonly Victim[] {
    const policy = this.#policy;
    const { killable, count } = this.#snapshot;
    const victims = asked(policy, () => policy.decide!(this.#snapshot));
    for (const [at, { index }] of victims.entries())
      if (!(index < count && killable[index] === 1) || victims.findIndex((other) => other.index === index) !== at)
        throw new ReplayError(`policy ${policy.name} named container ${index}, which is not there to be killed`);
    return victims;
  }
}

function asked<T>(policy: MemoryPolicy, ask: () => T): T {
  try {
    return ask();
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : String(cause);
    throw new ReplayError(`policy ${policy.name} failed: ${message}`, { cause });
  }
}
