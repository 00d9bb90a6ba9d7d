import type { MemoryLine } from '../host/supervision.ts';
import { formatBytes } from '../host/units.ts';
import { PolicyFault } from '../memory/checked.ts';
import type { MemoryPolicy, Snapshot, Victim } from '../memory/policy.ts';
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

/** What a policy is handed of each container, kept from look to look. */
interface Columns extends Pick<Snapshot, 'requestBytes' | 'workingSetBytes' | 'rssBytes' | 'priority' | 'killable'> {
  readonly names: string[];
}

const NO_COLUMNS: Columns = {
  names: [],
  requestBytes: new Float64Array(0),
  workingSetBytes: new Float64Array(0),
  rssBytes: new Float64Array(0),
  priority: new Float64Array(0),
  killable: new Uint8Array(0),
};

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
  /** The machine's, out of the policy's reach. */
  readonly #line: MemoryLine;
  #columns = NO_COLUMNS;
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
    this.#line = Object.freeze({ ...machine.line });
    const requests = Array.from(machine.series, (series) => placement.requestBytes[series]!);
    const limits = policy.limits(requests, this.#line);
    this.#parentBytes = limits.parentBytes ?? Number.POSITIVE_INFINITY;
    this.#childBytes = limits.childBytes;
    this.#actsAboveBytes = policy.decide
      ? (policy.actsAboveBytes?.(this.#line) ?? Number.NEGATIVE_INFINITY)
      : Number.POSITIVE_INFINITY;
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
      if (this.#ask(upperBytes).length === 0) return undefined;
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
    const { series, mostBytes, upperBytes } = this.#usage.measure(atMs, atMs);
    if (upperBytes > this.#peakTotalBytes) this.#peakTotalBytes = upperBytes;
    let totalBytes = upperBytes;
    let killedInLook = 0;
    for (let victims = this.#ask(totalBytes); victims.length > 0; victims = this.#ask(totalBytes, killedInLook)) {
      for (const { index, reason } of victims) {
        const bytes = mostBytes[index]!;
        totalBytes -= bytes;
        mostBytes[index] = 0;
        this.#kill(series[index]!, atMs, bytes, reason, 'supervisor', window);
      }
      killedInLook += victims.length;
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

  /** Asks the policy about what was measured last. It is handed copies, each time anew: it may write into them. */
  #ask(totalBytes: number, killedInLook = 0): readonly Victim[] {
    const { count, series, mostBytes } = this.#usage;
    const { requestBytes, trace } = this.#placement;
    const columns = this.#columnsFor(count);
    for (let index = 0; index < count; index++) {
      const one = series[index]!;
      const usedBytes = mostBytes[index]!;
      columns.names[index] = trace.names[one]!;
      columns.requestBytes[index] = requestBytes[one]!;
      columns.workingSetBytes[index] = usedBytes;
      columns.rssBytes[index] = usedBytes;
      columns.priority[index] = trace.priority === null ? 0 : trace.priority[one]!;
      columns.killable[index] = usedBytes > 0 ? 1 : 0;
    }
    const policy = this.#policy;
    const victims = policy.decide!({ ...columns, count, totalBytes, line: this.#line, killedInLook });
    for (const [at, { index }] of victims.entries())
      if (!(index < count && mostBytes[index]! > 0) || victims.findIndex((other) => other.index === index) !== at)
        throw new PolicyFault(`policy ${policy.name} names container ${index}, which is not there to be killed`);
    return victims;
  }

  #columnsFor(count: number): Columns {
    if (this.#columns.killable.length < count) {
      const { length } = this.#usage.series;
      this.#columns = {
        names: [],
        requestBytes: new Float64Array(length),
        workingSetBytes: new Float64Array(length),
        rssBytes: new Float64Array(length),
        priority: new Float64Array(length),
        killable: new Uint8Array(length),
      };
    }
    this.#columns.names.length = count;
    return this.#columns;
  }
}
