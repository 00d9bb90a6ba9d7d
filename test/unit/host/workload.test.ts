import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Bytes, Milliseconds } from '../../../src/host/units.ts';
import { cachePieces, type MemoryCurve, memoryPieces, type Piece, pieceAt } from '../../../src/host/workload.ts';

const b = (value: number): Bytes => value as Bytes;
const ms = (value: number): Milliseconds => value as Milliseconds;
const at = (curve: MemoryCurve, ageMs: number): Piece =>
  pieceAt(memoryPieces(curve), ageMs, { value: 0, slope: 0, untilMs: 0 });

describe('curves', () => {
  test('constant', () =>
    expect(at({ kind: 'constant', bytes: b(7) }, 1e9)).toEqual({ value: 7, slope: 0, untilMs: Infinity }));

  test('ramp: stands, rises, stands', () => {
    const ramp: MemoryCurve = { kind: 'ramp', from: b(100), to: b(300), startMs: ms(10), overMs: ms(100) };
    expect(at(ramp, 5)).toEqual({ value: 100, slope: 0, untilMs: 10 });
    expect(at(ramp, 60)).toEqual({ value: 200, slope: 2, untilMs: 110 });
    expect(at(ramp, 500)).toEqual({ value: 300, slope: 0, untilMs: Infinity });
    expect(at({ ...ramp, overMs: ms(0) }, 10).value).toBe(300);
  });

  test('sawtooth drops at the end of each period', () => {
    const saw: MemoryCurve = { kind: 'sawtooth', low: b(10), high: b(20), periodMs: ms(100) };
    expect(at(saw, 50).value).toBe(15);
    expect(at(saw, 100)).toEqual({ value: 10, slope: 0.1, untilMs: 200 });
    expect(at(saw, 1099).value).toBeCloseTo(19.9);
  });

  test('burst, once and again', () => {
    const burst: MemoryCurve = {
      kind: 'burst',
      base: b(10),
      peak: b(110),
      atMs: ms(50),
      riseMs: ms(10),
      holdMs: ms(20),
    };
    expect([
      at(burst, 49).value,
      at(burst, 55).value,
      at(burst, 79).value,
      at(burst, 80).value,
      at(burst, 180).value,
    ]).toEqual([10, 60, 110, 10, 10]);
    expect(at({ ...burst, everyMs: ms(100) }, 170).value).toBe(110);
  });

  test('leak grows to its end', () => {
    expect(at({ kind: 'leak', from: b(5), bytesPerSecond: b(1000), upTo: b(105) }, 50)).toEqual({
      value: 55,
      slope: 1,
      untilMs: 100,
    });
    expect(at({ kind: 'leak', from: b(5), bytesPerSecond: b(1000), upTo: b(105) }, 1e6).value).toBe(105);
    expect(at({ kind: 'leak', from: b(5), bytesPerSecond: b(0) }, 1e6).value).toBe(5);
  });

  test('trace is linear between its points and constant outside', () => {
    const trace: MemoryCurve = {
      kind: 'trace',
      points: [
        [10, 100],
        [20, 200],
        [30, 50],
      ],
    };
    expect([0, 10, 15, 25, 99].map((ageMs) => at(trace, ageMs).value)).toEqual([100, 100, 150, 125, 50]);
    expect(at({ kind: 'trace', points: [] }, 5).value).toBe(0);
  });

  test('no cache is nothing; a cache stops at its size', () => {
    const piece = { value: 0, slope: 0, untilMs: 0 };
    expect(pieceAt(cachePieces(undefined), 1000, piece).value).toBe(0);
    expect(pieceAt(cachePieces({ bytes: b(500), bytesPerSecond: b(1000) }), 250, piece).value).toBe(250);
    expect(pieceAt(cachePieces({ bytes: b(500), bytesPerSecond: b(1000) }), 9999, piece).value).toBe(500);
  });

  test('a piece holds until it says: the value at its end is what its slope leads to, or a jump', () => {
    const points = fc
      .uniqueArray(fc.integer({ min: 0, max: 10_000 }), { minLength: 1, maxLength: 8 })
      .chain((ages) =>
        fc.tuple(
          ...ages
            .toSorted((x, y) => x - y)
            .map((age) => fc.integer({ min: 0, max: 1e9 }).map((value) => [age, value] as const)),
        ),
      );
    fc.assert(
      fc.property(points, fc.nat(12_000), fc.double({ min: 0, max: 1, noNaN: true }), (trace, ageMs, share) => {
        const piece = { ...at({ kind: 'trace', points: trace }, ageMs) };
        expect(piece.untilMs).toBeGreaterThan(ageMs);
        const later = Math.min(piece.untilMs, ageMs + 5000);
        const between = ageMs + (later - ageMs) * share;
        expect(at({ kind: 'trace', points: trace }, between).value).toBeCloseTo(
          piece.value + piece.slope * (between - ageMs),
          2,
        );
      }),
    );
  });
});
