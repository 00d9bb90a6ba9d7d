import { describe, expect, test } from 'vitest';
import type { Want } from '../../../../backends/sim/flow-rates.ts';
import { type ShareClass, shareOf } from '../../../../backends/sim/htb-shares.ts';

const classOf = (
  rateBitsPerSec: number,
  ceilBitsPerSec: number,
  parent: ShareClass | null = null,
  { quantumBytes = 1500, fairQueue = false } = {},
): ShareClass => ({ numbers: { rateBitsPerSec, ceilBitsPerSec, quantumBytes, fairQueue }, parent });
const udp = (into: ShareClass | null, amount: number): Want => ({ into, amount, isElastic: false });
const tcp = (into: ShareClass | null, amount = Infinity): Want => ({ into, amount, isElastic: true });
const shares = (wants: readonly Want[], link = Infinity) =>
  shareOf(wants, link).map((share) => Math.round(share * 1000) / 1000);

describe('a class', () => {
  const whole = classOf(100, 100);

  test('has what it is guaranteed, and borrows what others leave up to its ceiling', () => {
    const quiet = classOf(20, 50, whole);
    const noisy = classOf(10, 100, whole);
    expect(shares([udp(quiet, 200), udp(noisy, 200)])).toEqual([50, 50]);
    expect(shares([udp(quiet, 5), udp(noisy, 200)])).toEqual([5, 95]);
    expect(shares([udp(quiet, 200), udp(noisy, 1)])).toEqual([50, 1]);
  });

  test('borrows in proportion to its quantum', () => {
    const large = classOf(10, 100, whole, { quantumBytes: 3000 });
    const small = classOf(10, 100, whole, { quantumBytes: 1000 });
    expect(shares([udp(large, 200), udp(small, 200)])).toEqual([70, 30]);
  });

  test('takes of the link behind it by what its flows want, and not by how many they are', () => {
    const all = classOf(2000, 2000, null, { fairQueue: true });
    // A bulk stream, whose bits are 1.02 on the wire, and a trickle of small packets.
    const [bulk, trickle] = shares(
      [
        { ...tcp(all), takesBehind: 1.02 },
        { ...udp(all, 1), takesBehind: 1.4 },
      ],
      1000,
    );
    expect(trickle).toBe(1);
    expect(bulk).toBeGreaterThan(978);
    expect(bulk).toBeLessThan(981);
  });

  test('under nothing has nobody to borrow from', () => {
    expect(shares([udp(classOf(10, 50), 200)])).toEqual([10]);
  });

  test('is kept to the ceiling of those between it and who lends', () => {
    const inner = classOf(10, 30, whole);
    const [a, b] = [classOf(5, 100, inner), classOf(5, 100, inner)];
    const outer = classOf(10, 100, whole);
    expect(shares([udp(a, 200), udp(b, 200), udp(outer, 200)])).toEqual([15, 15, 70]);
  });

  test('borrows of the nearest first', () => {
    const inner = classOf(60, 60, whole);
    const a = classOf(10, 100, inner);
    const outer = classOf(10, 100, whole);
    // What the inner one is guaranteed its own have alone; of the rest of the whole the outer one has all.
    expect(shares([udp(a, 200), udp(outer, 200)])).toEqual([60, 40]);
  });

  test('has its guarantee though those above have not so much: only a link stops it', () => {
    const two = [classOf(80, 80, whole), classOf(80, 80, whole)];
    expect(shares(two.map((each) => udp(each, 200)))).toEqual([80, 80]);
    expect(
      shares(
        two.map((each) => udp(each, 200)),
        120,
      ),
    ).toEqual([60, 60]);
  });
});

describe('flows of one class', () => {
  test('have turns in a fair queue', () => {
    const fair = classOf(90, 90, null, { fairQueue: true });
    expect(shares([udp(fair, 200), udp(fair, 10), tcp(fair)])).toEqual([40, 10, 40]);
  });

  test('share a FIFO by what arrives, and what slows down has the rest', () => {
    const plain = classOf(90, 90);
    expect(shares([udp(plain, 200), udp(plain, 100), tcp(plain)])).toEqual([60, 30, 0]);
    expect(shares([udp(plain, 20), tcp(plain), tcp(plain)])).toEqual([20, 35, 35]);
  });
});

test('what is in no class goes first', () => {
  expect(shares([udp(classOf(90, 90), 200), udp(null, 30)], 100)).toEqual([70, 30]);
  expect(shares([udp(null, 30), udp(classOf(90, 90), 200)])).toEqual([30, 90]);
});
