import { describe, expect, test } from 'vitest';
import { type Bytes, GIB, MIB } from '../../../src/host/units.ts';
import { MemoryError, resolveLine } from '../../../src/memory/line.ts';

const hardLimitBytes = (100 * MIB) as Bytes;
const RAM = 16 * GIB;

describe('the line of the memory rule', () => {
  test('has the defaults of the rule', () => {
    expect(resolveLine({ hardLimitBytes }, RAM)).toEqual({
      hardLimitBytes,
      killAtBytes: 105 * MIB,
      stopAtBytes: 100 * MIB,
      ceilingBytes: 110 * MIB,
      lookEveryMs: 100,
    });
  });

  test('stops at killAt where that is below the hard limit', () => {
    expect(resolveLine({ hardLimitBytes, killAt: 0.9 }, RAM)).toMatchObject({
      killAtBytes: 90 * MIB,
      stopAtBytes: 90 * MIB,
    });
  });

  test('lowers a ceiling that nobody set to what the machine has room for', () => {
    // 1.6 GiB less 512 MiB leaves 1126.4 MiB: above killAt (1075.2 MiB), below 1.1 (1126.4 MiB, less a rounding).
    const line = resolveLine({ hardLimitBytes: (1024 * MIB) as Bytes }, 1620 * MIB);
    expect(line.ceilingBytes).toBe(1108 * MIB);
  });

  test('keeps 5 % of a large machine for itself', () => {
    const [ram, limit] = [100 * GIB, 90 * GIB];
    expect(resolveLine({ hardLimitBytes: limit as Bytes, killAt: 1 }, ram).ceilingBytes).toBe(95 * GIB);
  });

  test.each([
    ['stopAt', { stopAt: 1.06 }, /above killAt/],
    ['ceiling', { ceiling: 1.05 }, /not above killAt/],
    ['ceiling', { ceiling: 1000 }, /room for/],
    ['killAt', { killAt: 1.1 }, /not above killAt/],
    ['killAt', { killAt: 0 }, /no factor/],
    ['stopAt', { stopAt: -1 }, /no factor/],
    ['killAt', { killAt: Number.NaN }, /no factor/],
    ['lookEveryMs', { lookEveryMs: 0 as never }, /lookEvery is 0/],
    ['hardLimitBytes', { hardLimitBytes: 0 as Bytes }, /less than one page/],
    ['hardLimitBytes', { hardLimitBytes: (16 * GIB) as Bytes }, /no ceiling fits/],
  ] as const)('blames %s of %j', (setting, change, words) => {
    const attempt = () => resolveLine({ hardLimitBytes, ...change }, RAM);
    expect(attempt).toThrow(words);
    expect(attempt).toThrow(expect.objectContaining({ name: MemoryError.name, setting }));
  });
});
