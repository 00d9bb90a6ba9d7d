import { checked } from '../memory/checked.ts';
import type { MemoryPolicy, Signal } from '../memory/policy.ts';
import { ReplayError } from './errors.ts';
import { type MachineOutcome, MachineReplay } from './machine.ts';
import type { Placement } from './placement.ts';
import type { RequestRule } from './requests.ts';
import { windowsFor } from './windows.ts';

/** What is taken for a signal that a trace does not hold, in words. */
export const ASSUMED: Readonly<Partial<Record<Signal, string>>> = {
  priority: 'this trace has no priorities: all are taken as equal',
  rss: 'this trace has one figure of usage: it is taken for resident memory too',
};

/** A container that ended before its time. */
export interface ReplayKill {
  readonly atMs: number;
  readonly container: string;
  /** What it used past its request; below 0 if it was within. */
  readonly overBytes: number;
  readonly reason: string;
  readonly by: 'supervisor' | 'kernel';
  readonly machine: string;
}

/** What came of a replay. */
export interface ReplaySummary {
  readonly policy: string;
  readonly containers: number;
  /** Samples that were read and summed. */
  readonly samples: number;
  readonly machines: number;
  /** Of each machine; the smallest and largest where they differ. */
  readonly hardLimitBytes: number;
  readonly hardLimitBytesMax: number;
  readonly requests: RequestRule;
  readonly spanMs: number;
  readonly kills: number;
  readonly killsBySupervisor: number;
  readonly killsByKernel: number;
  /** Kills of containers that were within their request. */
  readonly killsWithinRequest: number;
  /** The highest total of any machine. */
  readonly peakTotalBytes: number;
  /** The highest of any machine: the peak of what containers alive at one time asked for, over the hard limit. */
  readonly overCommit: number;
  /** Time that machines were above their hard limit, summed over machines. */
  readonly machineTimeOverHardLimitMs: number;
  /** Of all container time, the share nobody saw: what killed containers would have used is taken as their last value. */
  readonly assumedShare: number;
  /** Signals that the policy reads and the trace does not hold: see `ASSUMED` for what was taken instead. */
  readonly assumed: readonly Signal[];
}

export interface ReplayResult {
  readonly kills: readonly ReplayKill[];
  readonly summary: ReplaySummary;
}

/**
 * Runs recorded usage against a policy, in a closed loop: a killed container ends there, counts once, and its memory is
 * free from then on. Looks happen at multiples of `lookEvery`; between samples usage is linear; the kernel acts at any
 * whole millisecond, after the look if there is one. @throws ReplayError, PolicyFault
 */
export function replay(placement: Placement, given: MemoryPolicy): ReplayResult {
  const policy = checked(given);
  if (policy.needs.includes('pressure'))
    throw new ReplayError(
      `policy ${policy.name} decides by pressure, which a recorded trace does not hold: take another policy, or run a scenario`,
    );
  const { trace } = placement;
  const windows = windowsFor(placement);
  const deathMs = new Float64Array(trace.names.length).fill(Number.POSITIVE_INFINITY);
  const kills: ReplayKill[] = [];
  const outcomes: MachineOutcome[] = [];
  for (const machine of placement.machines) {
    windows.clear();
    const one = new MachineReplay(placement, machine, policy, windows, deathMs);
    const outcome = one.run();
    outcomes.push(outcome);
    kills.push(...outcome.kills);
  }
  kills.sort((a, b) => a.atMs - b.atMs);
  return { kills, summary: summarize(placement, policy, kills, outcomes) };
}

function summarize(
  placement: Placement,
  policy: MemoryPolicy,
  kills: readonly ReplayKill[],
  outcomes: readonly MachineOutcome[],
): ReplaySummary {
  const { trace, machines, rule } = placement;
  const limits = machines.map(({ line }) => line.hardLimitBytes);
  const killsBySupervisor = kills.filter(({ by }) => by === 'supervisor').length;
  let containerMs = 0;
  for (let run = 0; run < placement.runStartMs.length; run++)
    containerMs += placement.runEndMs[run]! - placement.runStartMs[run]!;
  return {
    policy: policy.name,
    containers: trace.names.length,
    samples: outcomes.reduce((sum, { samples }) => sum + samples, 0),
    machines: machines.length,
    hardLimitBytes: Math.min(...limits),
    hardLimitBytesMax: Math.max(...limits),
    requests: rule,
    spanMs: trace.spanMs,
    kills: kills.length,
    killsBySupervisor,
    killsByKernel: kills.length - killsBySupervisor,
    killsWithinRequest: kills.filter(({ overBytes }) => overBytes <= 0).length,
    peakTotalBytes: Math.max(...outcomes.map(({ peakTotalBytes }) => peakTotalBytes)),
    overCommit: Math.max(...machines.map(({ requestPeakBytes, line }) => requestPeakBytes / line.hardLimitBytes)),
    machineTimeOverHardLimitMs: Math.round(outcomes.reduce((sum, { overHardLimitMs }) => sum + overHardLimitMs, 0)),
    assumed: policy.needs.filter((signal) => signal === 'rss' || (signal === 'priority' && trace.priority === null)),
    assumedShare: containerMs === 0 ? 0 : trace.assumedMs / containerMs,
  };
}
