import { describe, expect, it } from 'vitest';
import { createRandom } from '../../../src/host/random.ts';

const draws = (random: ReturnType<typeof createRandom>, count: number): number[] =>
  Array.from({ length: count }, () => random.next());

describe('random', () => {
  it('draws the same from the same seed, and other from another', () => {
    expect(draws(createRandom(7), 20)).toEqual(draws(createRandom(7), 20));
    expect(draws(createRandom(7), 20)).not.toEqual(draws(createRandom(8), 20));
  });

  it('forks by label alone: what was drawn before, here or there, does not shift it', () => {
    const used = createRandom(7);
    draws(used, 5);
    draws(used.fork('other'), 5);
    expect(draws(used.fork('faults'), 10)).toEqual(draws(createRandom(7).fork('faults'), 10));
    expect(draws(createRandom(7).fork('a'), 10)).not.toEqual(draws(createRandom(7).fork('b'), 10));
    expect(draws(createRandom(7).fork('a').fork('b'), 10)).not.toEqual(draws(createRandom(7).fork('b').fork('a'), 10));
  });

  it('draws evenly over 0 to 1, and whole numbers over all of a range', () => {
    const random = createRandom(3);
    const buckets = Array.from({ length: 10 }, () => 0);
    for (let index = 0; index < 100_000; index++) buckets[Math.floor(random.next() * 10)]!++;
    for (const count of buckets) expect(Math.abs(count - 10_000)).toBeLessThan(500);
    const seen = new Set(Array.from({ length: 1000 }, () => random.integer(3, 6)));
    expect([...seen].sort((a, b) => a - b)).toEqual([3, 4, 5, 6]);
  });
});
