import { describe, expect, test } from 'vitest';
import type { MemoryLine } from '../../../src/host/supervision.ts';
import { policyByName, policyNames } from '../../../src/memory/policies.ts';
import type { MemoryPolicy, Snapshot } from '../../../src/memory/policy.ts';

const MI = 1024 ** 2;
const line = {
  hardLimitBytes: 1000 * MI,
  killAtBytes: 1050 * MI,
  stopAtBytes: 1000 * MI,
  ceilingBytes: 1100 * MI,
  lookEveryMs: 100,
} as MemoryLine;

interface Row {
  name: string;
  request: number;
  use: number;
  rss?: number;
  priority?: number;
  killable?: boolean;
}

function snapshot(rows: readonly Row[], killedInLook = 0): Snapshot {
  const column = (of: (row: Row) => number): Float64Array => Float64Array.from(rows, of);
  return {
    count: rows.length,
    names: rows.map(({ name }) => name),
    requestBytes: column(({ request }) => request * MI),
    workingSetBytes: column(({ use }) => use * MI),
    rssBytes: column(({ rss, use }) => (rss ?? use) * MI),
    priority: column(({ priority }) => priority ?? 0),
    killable: Uint8Array.from(rows, ({ killable }) => (killable === false ? 0 : 1)),
    totalBytes: rows.reduce((sum, { use }) => sum + use * MI, 0),
    line,
    killedInLook,
  };
}

const chosen = (policy: MemoryPolicy, rows: readonly Row[], killedInLook = 0): string | undefined => {
  const victim = policy.decide?.(snapshot(rows, killedInLook))[0];
  return victim && rows[victim.index]!.name;
};

describe('gaia', () => {
  const gaia = policyByName('gaia')!;
  test('nobody dies at killAt, however far over its request', () =>
    expect(
      chosen(gaia, [
        { name: 'a', request: 10, use: 950 },
        { name: 'b', request: 100, use: 100 },
      ]),
    ).toBeUndefined());
  test('past killAt the furthest over dies, not the largest', () =>
    expect(
      chosen(gaia, [
        { name: 'large', request: 700, use: 750 },
        { name: 'over', request: 50, use: 301 },
      ]),
    ).toBe('over'));
  test('within a look it goes on until stopAt', () => {
    const rows = [
      { name: 'a', request: 10, use: 500 },
      { name: 'b', request: 100, use: 501 },
    ];
    expect(chosen(gaia, rows, 0)).toBeUndefined();
    expect(chosen(gaia, rows, 1)).toBe('a');
    expect(chosen(gaia, [{ name: 'a', request: 10, use: 1000 }], 1)).toBeUndefined();
  });
  test('one within its request never dies', () =>
    expect(
      chosen(gaia, [
        { name: 'a', request: 800, use: 800 },
        { name: 'b', request: 800, use: 799 },
      ]),
    ).toBeUndefined());
  test('ties: larger usage, then name', () => {
    expect(
      chosen(gaia, [
        { name: 'a', request: 400, use: 500 },
        { name: 'b', request: 500, use: 600 },
      ]),
    ).toBe('b');
    expect(
      chosen(gaia, [
        { name: 'z', request: 500, use: 600 },
        { name: 'b', request: 500, use: 600 },
      ]),
    ).toBe('b');
  });
  test('one with a signal under way is passed over', () =>
    expect(
      chosen(gaia, [
        { name: 'a', request: 10, use: 900, killable: false },
        { name: 'b', request: 100, use: 300 },
      ]),
    ).toBe('b'));
  test('only the ceiling goes to the kernel', () =>
    expect(gaia.limits([1, 2], line)).toEqual({ parentBytes: line.ceilingBytes, childBytes: [null, null] }));
});

describe('hard-limit and kernel only limit', () => {
  test('hard-limit: each at its request', () =>
    expect(policyByName('hard-limit')!.limits([5, 7], line)).toEqual({
      parentBytes: line.ceilingBytes,
      childBytes: [5, 7],
    }));
  test('kernel: the parent alone', () =>
    expect(policyByName('kernel')!.limits([5], line)).toEqual({ parentBytes: line.ceilingBytes, childBytes: [null] }));
  test.each(['hard-limit', 'kernel'])('%s decides nothing', (name) =>
    expect(policyByName(name)).not.toHaveProperty('decide'),
  );
});

describe('largest-rss', () => {
  const largest = policyByName('largest-rss')!;
  test('acts below 10 % free', () => {
    expect(chosen(largest, [{ name: 'a', request: 1000, use: 900 }])).toBeUndefined();
    expect(chosen(largest, [{ name: 'a', request: 1000, use: 901 }])).toBe('a');
  });
  test('chooses by anonymous memory, cache and requests aside', () =>
    expect(
      chosen(largest, [
        { name: 'cache', request: 10, use: 600, rss: 10 },
        { name: 'anon', request: 500, use: 400 },
      ]),
    ).toBe('anon'));
});

describe('kubelet', () => {
  const kubelet = policyByName('kubelet')!;
  test('acts below its threshold of 5 % here', () =>
    expect(chosen(kubelet, [{ name: 'a', request: 10, use: 950 }])).toBeUndefined());
  test('on a large machine it acts below 100 MiB', () =>
    expect(kubelet.actsAboveBytes!({ ...line, hardLimitBytes: 102_400 * MI } as MemoryLine)).toBe(102_300 * MI));
  test('over request before within, whatever the priority', () =>
    expect(
      chosen(kubelet, [
        { name: 'in', request: 800, use: 700, priority: -5 },
        { name: 'over', request: 100, use: 300, priority: 9 },
      ]),
    ).toBe('over'));
  test('then lower priority, then the amount over', () => {
    const rows = [
      { name: 'much', request: 100, use: 500, priority: 1 },
      { name: 'little', request: 100, use: 300, priority: 0 },
      { name: 'x', request: 100, use: 200, priority: 1 },
    ];
    expect(chosen(kubelet, rows)).toBe('little');
    expect(
      chosen(
        kubelet,
        rows.map((row) => ({ ...row, priority: 0 })),
      ),
    ).toBe('much');
  });
  test('it takes one within its request where nobody is over', () =>
    expect(chosen(kubelet, [{ name: 'a', request: 2000, use: 990 }])).toBe('a'));
});

test('every shipped policy is found by its name, and tells what it is', () => {
  expect(policyNames).toEqual(['gaia', 'hard-limit', 'kernel', 'largest-rss', 'kubelet']);
  for (const name of policyNames) expect(policyByName(name)!.about.length).toBeGreaterThan(20);
  expect(policyByName('nosuch')).toBeUndefined();
});
