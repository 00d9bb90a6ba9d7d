import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Latencies } from '../../../../bench/nic/latencies.ts';

const times = fc.array(fc.double({ min: 0.1, max: 1e7, noNaN: true }), { minLength: 1, maxLength: 300 });

const of = (all: readonly number[]): Latencies => {
  const latencies = new Latencies();
  for (const each of all) latencies.add(each);
  return latencies;
};

test('a percentile is that of the sorted list, to 1 %', () => {
  fc.assert(
    fc.property(times, fc.constantFrom(0.5, 0.9, 0.99, 1), (all, share) => {
      const sorted = all.toSorted((a, b) => a - b);
      const exact = sorted[Math.ceil(share * all.length) - 1]!;
      const told = of(all).percentileUs(share);
      expect(Math.abs(told / exact - 1)).toBeLessThan(0.01);
      expect(told).toBeLessThanOrEqual(of(all).maxUs);
    }),
  );
});

test('several together are as one that has seen all, and what another process kept is as it was', () => {
  fc.assert(
    fc.property(times, times, (a, b) => {
      const both = of([...a, ...b]);
      const sent = [of(a), of(b)].map((each) => Latencies.of(each.slots(), each.maxUs));
      const together = Latencies.together(sent);
      expect(together.slots()).toEqual(both.slots());
      expect(together.count).toBe(a.length + b.length);
      expect(together.maxUs).toBe(Math.max(...a, ...b));
    }),
  );
});

test('what is too short to be told apart counts as the shortest; of nothing there is no percentile', () => {
  expect(of([0, 0.01]).slots()).toEqual([[0, 2]]);
  expect(() => new Latencies().percentileUs(0.5)).toThrow(RangeError);
});
