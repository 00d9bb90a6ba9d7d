import { expect, test } from 'vitest';
import { GIB } from '../../../src/host/units.ts';
import { policyByName } from '../../../src/memory/policies.ts';
import { DAY_HARD_LIMIT_BYTES, generateDay } from '../../../src/traces/generate.ts';
import { place } from '../../../src/tuning/placement.ts';
import { replay } from '../../../src/tuning/replay.ts';
import { timeline } from '../../../src/tuning/timeline.ts';

const placed = () => place(generateDay(1), { hardLimitBytes: DAY_HARD_LIMIT_BYTES as never, request: 'recorded' });

test('without kills it is the sum of what everybody used', () => {
  const placement = placed();
  const columns = timeline(placement, [], 24);
  const { trace } = placement;
  const sums = new Float64Array(8641);
  for (let run = 0; run < trace.runs.series.length; run++) {
    for (let at = 0; at < trace.runs.count[run]!; at++) {
      sums[trace.runs.firstColumn[run]! + at]! += trace.usageBytes[trace.runs.from[run]! + at]!;
    }
  }
  const highest = Array.from({ length: 24 }, (_, hour) => Math.max(...sums.subarray(hour * 360, hour * 360 + 361)));
  for (const [hour, bytes] of columns.entries()) {
    expect(bytes).toBeLessThanOrEqual(highest[hour]! + 1);
    expect(bytes).toBeGreaterThan(highest[hour]! - 2 * GIB);
  }
});

test('the dead are left out from their death on, and only then', () => {
  const placement = placed();
  const { kills } = replay(placement, policyByName('gaia')!);
  expect(kills.length).toBeGreaterThan(0);
  const hour = Math.floor(kills[0]!.atMs / 3_600_000);
  const [without, withKills] = [timeline(placement, [], 24), timeline(placement, kills, 24)];
  expect([...withKills.subarray(0, hour)]).toEqual([...without.subarray(0, hour)]);
  expect(withKills[23]!).toBeLessThan(without[23]! - GIB);
});
