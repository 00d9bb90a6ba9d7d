import { expect, test } from 'vitest';
import { DAY_HARD_LIMIT_BYTES, generateDay } from '../../../src/traces/generate.ts';
import { place } from '../../../src/tuning/placement.ts';

test('the same seed gives the same day, another seed another', () => {
  expect(generateDay(7)).toEqual(generateDay(7));
  expect(generateDay(8).usageBytes).not.toEqual(generateDay(7).usageBytes);
});

test.each([1, 2, 3, 4, 5])('day %d is oversold, and every sample is a size', (seed) => {
  const day = generateDay(seed);
  const { machines } = place(day, { hardLimitBytes: DAY_HARD_LIMIT_BYTES as never, request: 'recorded' });
  expect(machines[0]!.requestPeakBytes).toBeGreaterThan(DAY_HARD_LIMIT_BYTES * 1.05);
  expect(day.usageBytes.every((bytes) => Number.isSafeInteger(bytes) && bytes > 0)).toBe(true);
});
