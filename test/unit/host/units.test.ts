import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  bytes,
  formatBytes,
  formatMilliseconds,
  milliseconds,
  parseBitsPerSecond,
  parseBytes,
  parseMilliseconds,
  UnitError,
} from '../../../src/host/units.ts';

describe('sizes', () => {
  test.each([
    ['512Mi', 512 * 1024 ** 2],
    ['1.5GiB', 1.5 * 1024 ** 3],
    ['100M', 100e6],
    ['100MB', 100e6],
    ['2k', 2000],
    ['4096', 4096],
    [' 7 Ki ', 7168],
    ['0', 0],
  ])('%s is %d bytes', (text, wanted) => expect(parseBytes(text)).toBe(wanted));

  test.each(['', 'Mi', '-5Mi', '5 apples', '1e3', '5Mbit', '9999999Pi', 'NaN', '5 Mi i', '٣Mi'])(
    '"%s" is no size',
    (text) => expect(() => parseBytes(text)).toThrow(UnitError),
  );

  test.each([-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53])('the number %d is no size', (value) =>
    expect(() => bytes(value)).toThrow(UnitError),
  );
});

describe('rates', () => {
  test('count in powers of 1000, as tc does', () => expect(parseBitsPerSecond('10Mbit')).toBe(10e6));
  test.each(['10Mbps', '10MB', '10', '-1kbit'])('"%s" is refused: bits or bytes cannot be told', (text) =>
    expect(() => parseBitsPerSecond(text)).toThrow(UnitError),
  );
});

describe('durations', () => {
  test.each([
    ['250ms', 250],
    ['1.5s', 1500],
    ['10m', 600_000],
    ['24h', 86_400_000],
    ['2d', 172_800_000],
    ['10us', 0.01],
  ])('%s is %d ms', (text, wanted) => expect(parseMilliseconds(text)).toBe(wanted));
  test.each(['5', '-1s', '5 weeks', 's'])('"%s" is no duration', (text) =>
    expect(() => parseMilliseconds(text)).toThrow(UnitError),
  );
  test.each([-1, Number.NaN, Number.POSITIVE_INFINITY])('the number %d is no duration', (value) =>
    expect(() => milliseconds(value)).toThrow(UnitError),
  );
});

describe('for people', () => {
  test.each([
    [0, '0 B'],
    [1023, '1023 B'],
    [1024, '1.00 KiB'],
    [1536 * 1024, '1.50 MiB'],
    [1024 ** 3 - 1, '1.00 GiB'],
    [-5 * 1024 ** 2, '-5.00 MiB'],
    [123.4 * 1024 ** 2, '123 MiB'],
  ])('%d bytes read %s', (value, wanted) => expect(formatBytes(value)).toBe(wanted));

  test.each([
    [250, '250 ms'],
    [1500, '1.5 s'],
    [125_000, '2 m 5 s'],
    [3_599_600, '1 h 0 m'],
    [86_400_000, '1 d 0 h'],
  ])('%d ms reads %s', (value, wanted) => expect(formatMilliseconds(value)).toBe(wanted));

  test('what is written is read back to three digits', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 ** 50 }), (value) => {
        const back = parseBytes(formatBytes(value));
        expect(Math.abs(back - value)).toBeLessThanOrEqual(value * 0.005 + 1);
      }),
    );
  });
});
