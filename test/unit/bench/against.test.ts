import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { changeOf, changesSince, type Figure, readEarlier } from '../../../bench/against.ts';
import { median } from '../../../bench/result.ts';

const of = (rounds: readonly number[], unit = 'us'): Figure => ({
  id: 'cost',
  value: median(rounds),
  unit,
  rounds: [...rounds],
});

describe('what became of a figure', () => {
  test.for([
    ['no change beyond noise', [100, 101, 99, 102, 98], [100, 99, 103, 101, 97]],
    ['12 % more, beyond noise', [100, 101, 99, 102, 98], [112, 113, 111, 114, 110]],
    ['12 % less, beyond noise', [100, 101, 99, 102, 98], [88, 89, 87, 90, 86]],
    ['3.5 times as much, beyond noise', [10, 11, 9, 10, 10], [35, 36, 34, 35, 33]],
    // Half the median, and yet the rounds of both lie among each other.
    ['no change beyond noise', [20, 100, 110, 30, 105], [50, 120, 25, 55, 40]],
    // Parted wholly, and too little to be claimed.
    ['no change beyond noise', [100, 100.1, 100.2, 100.3, 100.4], [102, 102.1, 102.2, 102.3, 102.4]],
  ] as const)('%s', ([words, before, now]) => expect(changeOf(of(before), of(now)).words).toBe(words));

  test('one wild round of five takes nothing from a change of nine tenths and adds none', () => {
    expect(changeOf(of([100, 101, 99, 102, 1000]), of([100, 99, 103, 101, 97])).verdict).toBe('same');
    const eight = of([100, 101, 99, 102, 98, 100, 103, 1000]);
    expect(changeOf(eight, of([112, 113, 111, 114, 110, 109, 115, 116])).verdict).toBe('more');
  });

  test('too few rounds say how many would do', () => {
    const { verdict, words } = changeOf(of([100, 101, 99, 102]), of([300, 303, 299, 302]));
    expect(verdict).toBe('unknown');
    expect(words).toBe('3 times as much, from too few rounds to tell it from noise (4 before, 4 now; 5 each would do)');
    expect(changeOf(of([1, 1, 1, 1, 1]), of([2, 2, 2, 2, 2])).verdict).toBe('more');
  });

  test('what was nothing has no ratio', () => {
    const nothing = of([0, 0, 0, 0, 0]);
    expect(changeOf(nothing, nothing)).toMatchObject({ ratio: null, verdict: 'same' });
    expect(changeOf(nothing, of([1, 2, 3, 4, 5]))).toMatchObject({ ratio: null, words: 'more, beyond noise' });
    expect(changeOf(of([1, 2, 3, 4, 5]), nothing)).toMatchObject({ ratio: 0, words: '100 % less, beyond noise' });
  });

  test('another unit is another thing', () =>
    expect(changeOf(of([1, 1, 1, 1, 1], 'ms'), of([9, 9, 9, 9, 9])).words).toBe('not comparable, it was in ms'));

  test('ties are halfway: the published critical value of ten against ten', () => {
    // Of U for 10 and 10 rounds, 16 is the last with a two-sided chance of 1 % or less (tables of Mann and Whitney).
    const before = Array.from({ length: 10 }, (_, index) => 100 + index * 10);
    const parted = (u: number): number[] => {
      const now = Array.from({ length: 10 }, (_, index) => 300 + index);
      // Each step down lets one round of now pass one of before.
      for (let left = u, index = 0; left > 0; index++) {
        const steps = Math.min(left, 10);
        now[index] = 195 - steps * 10 + index / 100;
        left -= steps;
      }
      return now;
    };
    expect(changeOf(of(before), of(parted(16))).verdict).toBe('more');
    expect(changeOf(of(before), of(parted(17))).verdict).toBe('same');
  });
});

/** Rounds as noise makes them: within a tenth of the same number, and one of twenty met something else that ran. */
const noise = (rounds: number) =>
  fc.array(
    fc
      .tuple(fc.noBias(fc.integer({ min: -1000, max: 1000 })), fc.noBias(fc.integer({ min: 0, max: 19 })))
      .map(([spread, luck]) => 100 * (1 + spread / 10_000) * (luck === 0 ? 1.5 : 1)),
    { minLength: rounds, maxLength: rounds, size: 'max' },
  );

describe('of rounds that chance deals out', () => {
  const share = (rounds: number, factor: number, verdict: string): number => {
    const cases = fc.sample(fc.tuple(noise(rounds), noise(rounds)), { numRuns: 2000, seed: 1 });
    const found = cases.filter(
      ([before, now]) => changeOf(of(before), of(now.map((value) => value * factor))).verdict === verdict,
    );
    return found.length / cases.length;
  };

  test.for([5, 10, 60])('%i rounds of the same are seldom said to differ', (rounds) =>
    expect(share(rounds, 1, 'same')).toBeGreaterThan(0.98),
  );

  test.for([
    [10, 1.25],
    [60, 1.07],
  ] as const)('%i rounds find a change by %d', ([rounds, factor]) =>
    expect(share(rounds, factor, 'more')).toBeGreaterThan(0.9),
  );

  test('before and now changed about say the opposite', () =>
    fc.assert(
      fc.property(noise(10), noise(10), fc.constantFrom(1, 1.1, 1.3), (a, b, factor) => {
        const turned = { same: 'same', more: 'less', less: 'more', unknown: 'unknown' };
        const more = b.map((value) => value * factor);
        const [forth, back] = [changeOf(of(a), of(more)), changeOf(of(more), of(a))];
        // Three per cent more and three per cent less are not quite the same change.
        fc.pre(Math.abs(Math.abs(Math.log(forth.ratio!)) - Math.log(1.03)) > 0.001);
        expect(back.verdict).toBe(turned[forth.verdict]);
      }),
    ));
});

describe('an earlier file', () => {
  const text = (bench: string): string => JSON.stringify({ bench, results: [{ ...of([1, 2, 3]), min: 1, max: 3 }] });

  test('is read by id', () => expect(readEarlier(text('nic'), 'nic').get('cost')).toEqual(of([1, 2, 3])));

  test('is compared figure by figure, as far as both have it', () => {
    const now = [of([9, 9, 9]), { ...of([1, 2, 3]), id: 'new' }];
    expect(changesSince(readEarlier(text('nic'), 'nic'), now).map(({ id }) => id)).toEqual(['cost']);
  });

  test('of another bench is refused', () =>
    expect(() => readEarlier(text('egress'), 'nic')).toThrow('it is a result of egress, not of nic'));

  test('without rounds is compared by its figure', () => {
    const old = JSON.stringify({ bench: 'nic', results: [{ id: 'cost', value: 2, unit: 'us' }] });
    const { ratio, verdict } = changeOf(readEarlier(old, 'nic').get('cost')!, of([1, 1, 1, 1, 1]));
    expect({ ratio, verdict }).toEqual({ ratio: 0.5, verdict: 'unknown' });
  });
});
