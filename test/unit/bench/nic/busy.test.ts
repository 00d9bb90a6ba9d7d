import { describe, expect, test } from 'vitest';
import { busyBetween, readCpuTicks, readProcessTicks } from '../../../../bench/nic/busy.ts';
import { plant } from './planted.ts';

test('the ticks of all CPUs', () => {
  const stat = 'cpu  100 10 30 1000 50 3 7 9 0 0\ncpu0 100 10 30 1000 50 3 7 9 0 0\n';
  expect(readCpuTicks(plant({ 'proc/stat': stat }))).toEqual({ busy: 150, idle: 1050, stolen: 9 });
  expect(readCpuTicks(plant({ 'proc/stat': 'intr 1\n' }))).toBeNull();
  expect(readCpuTicks(plant({}))).toBeNull();
});

test('the ticks of processes, whatever their names', () => {
  const stat = (name: string, user: number, system: number): string =>
    `1 (${name}) S 1 1 1 0 -1 4194560 1 0 0 0 ${user} ${system} 0 0 20 0 1 0 100 0 0\n`;
  const root = plant({
    'proc/1/stat': stat('init', 5, 6),
    'proc/22/stat': stat('a) S 9 (b', 70, 8),
    'proc/33/status': 'Name: gone',
    'proc/self/stat': stat('self', 1, 1),
  });
  expect([...readProcessTicks(root)]).toEqual([
    [1, { name: 'init', ticks: 11 }],
    [22, { name: 'a) S 9 (b', ticks: 78 }],
  ]);
});

describe('what went on between two looks', () => {
  const processes = (...ticks: readonly [number, number][]) =>
    new Map(ticks.map(([pid, ticks]) => [pid, { name: `p${pid}`, ticks }]));
  const all = (busy: number, idle: number, stolen: number) => ({ busy, idle, stolen });

  test('is told in CPUs, without the bench itself, the busiest first', () =>
    expect(
      busyBetween(
        { all: all(1000, 5000, 10), processes: processes([1, 50], [2, 0], [3, 7], [9, 100]) },
        { all: all(1090, 5106, 14), processes: processes([1, 51], [2, 20], [3, 57], [9, 110], [12, 5]) },
        { cpus: 2, self: 9 },
      ),
    ).toEqual({
      othersCpus: 0.8,
      stolenCpus: 0.04,
      most: [
        { pid: 3, name: 'p3', cpus: 0.5 },
        { pid: 2, name: 'p2', cpus: 0.2 },
        { pid: 12, name: 'p12', cpus: 0.05 },
      ],
    }));

  test('three of those that are worth it are named', () => {
    const looks = (ticks: readonly number[]) =>
      [0, 1].map((share) => ({
        all: all(0, 100 * share, 0),
        processes: processes(...ticks.map((each, index): [number, number] => [index + 1, each * share])),
      }));
    const named = (...ticks: readonly number[]): number[] => {
      const [before, after] = looks(ticks);
      return busyBetween(before!, after!, { cpus: 1, self: 99 })!.most.map(({ pid }) => pid);
    };
    expect(named(10, 40, 20, 30)).toEqual([2, 4, 3]);
    expect(named(10, 1)).toEqual([1]);
  });

  test('is unknown where the machine does not tell', () => {
    const look = { all: all(1, 1, 1), processes: processes() };
    expect(busyBetween({ ...look, all: null }, look, { cpus: 1, self: 1 })).toBeNull();
    expect(busyBetween(look, look, { cpus: 1, self: 1 })).toBeNull();
  });
});
