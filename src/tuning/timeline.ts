import type { Placement } from './placement.ts';
import type { ReplayKill } from './replay.ts';
import { MachineUsage } from './usage.ts';

/** Moments looked at for each column of a timeline: enough to meet peaks of a few minutes in a column of a quarter hour. */
const MOMENTS_A_COLUMN = 8;

/**
 * Use over time, after a replay: the highest total met in each of so many equal stretches, in bytes, over all machines
 * together. The dead are left out from their death on.
 */
export function timeline(placement: Placement, kills: readonly ReplayKill[], columns: number): Float64Array {
  const { trace } = placement;
  const indexOf = new Map(trace.names.map((name, index) => [name, index]));
  const deathMs = new Float64Array(trace.names.length).fill(Number.POSITIVE_INFINITY);
  for (const { container, atMs } of kills) deathMs[indexOf.get(container)!] = atMs;

  const moments = columns * MOMENTS_A_COLUMN;
  const totals = new Float64Array(moments);
  for (const machine of placement.machines) {
    const usage = new MachineUsage(placement, machine, deathMs);
    for (let moment = 0; moment < moments; moment++) {
      const atMs = Math.floor((trace.spanMs * moment) / moments);
      usage.enter(atMs, atMs);
      totals[moment]! += usage.measure(atMs, atMs).upperBytes;
    }
  }
  return Float64Array.from({ length: columns }, (_, column) =>
    Math.max(...totals.subarray(column * MOMENTS_A_COLUMN, (column + 1) * MOMENTS_A_COLUMN)),
  );
}
