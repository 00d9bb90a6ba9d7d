import { expect, test } from 'vitest';
import { samePlainData } from '../../../src/host/same.ts';

test('the same data, whatever the order of keys', () => {
  expect(samePlainData({ a: 1, b: [1, { c: null }] }, { b: [1, { c: null }], a: 1 })).toBe(true);
  expect(samePlainData({ a: 1 }, { a: 1, b: undefined })).toBe(true);
});

test.each([
  [{ a: 1 }, { a: 2 }],
  [
    [1, 2],
    [2, 1],
  ],
  [[1], [1, 2]],
  [{ 0: 1 }, [1]],
  [null, {}],
  [{ a: 1 }, { a: 1, b: 0 }],
])('%j differs from %j', (a, b) => expect(samePlainData(a, b)).toBe(false));
