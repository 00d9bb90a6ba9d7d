import { spawn } from 'node:child_process';
import { constants, setPriority } from 'node:os';
import { describe, expect, test } from 'vitest';
import {
  agreesWithin,
  findingsAfter,
  findingsBefore,
  lookForNoise,
  noiseLines,
  noiseOf,
  watchForNoise,
} from '../../../../bench/nic/noise.ts';
import { median } from '../../../../bench/result.ts';

const machine = {
  cpu: 'Example 1',
  cpus: 2,
  governors: ['performance'],
  turbo: false,
  threads: false,
  mitigations: {},
  load: [0.2, 0, 0],
  hypervisor: null,
};
const idle = { othersCpus: 0.02, stolenCpus: 0, most: [] };
const about = (findings: readonly { readonly about: string; readonly isNoise: boolean }[]): string[] =>
  findings.map(({ about, isNoise }) => `${isNoise ? '!' : ''}${about}`);

describe('before anything is measured', () => {
  test('a quiet machine has nothing to be told', () => {
    expect(findingsBefore(machine, idle)).toEqual([]);
    expect(findingsBefore({ ...machine, governors: null, turbo: null, load: null }, null)).toEqual([]);
  });

  test.for([
    ['!others', {}, { othersCpus: 0.11 }],
    ['!steal', {}, { stolenCpus: 0.03 }],
    ['load', { load: [1.1, 0, 0] }, {}],
    ['!governor', { governors: ['performance', 'powersave'] }, {}],
    ['turbo', { turbo: true }, {}],
    ['hypervisor', { hypervisor: 'QEMU' }, {}],
  ] as const)('%s is told', ([what, of, busy]) =>
    expect(about(findingsBefore({ ...machine, ...of }, { ...idle, ...busy }))).toEqual([what]),
  );

  test('others are named, with what to do', () => {
    const [found] = findingsBefore(machine, { ...idle, othersCpus: 0.987, most: [{ pid: 7, name: 'cc', cpus: 0.9 }] });
    expect(found).toEqual({
      about: 'others',
      isNoise: true,
      message: 'others use 99 % of a CPU while the bench is idle: cc (pid 7) 90 % of a CPU',
      remedy: 'end them, or wait until they are done',
    });
  });
});

describe('after the rounds', () => {
  const steady = { name: 'nat 64 B', rounds: [5.3, 5.32, 5.31, 5.29, 5.3, 5.33, 5.3, 5.31, 5.28, 5.3] };
  const wild = { name: 'direct 1 B', rounds: [2, 3, 2.5, 4, 2.2, 2.9, 3.3, 2.1, 2.6, 5] };

  test('steady ones have nothing to be told', () => expect(findingsAfter([steady], idle, 2)).toEqual([]));

  test('wild ones are named with what another run may be off by, and what would do', () => {
    expect(findingsAfter([steady, wild], null, 2)).toEqual([
      {
        about: 'rounds',
        isNoise: true,
        message: '1 of 2 figures are not known to 5 %: another run may differ by 28 % in direct 1 B',
        remedy: 'leave the machine to the bench alone',
      },
    ]);
    const less = { ...wild, rounds: wild.rounds.map((value) => 20 + value) };
    expect(findingsAfter([less], null, 2)[0]).toBeUndefined();
    const some = { ...wild, rounds: wild.rounds.map((value) => 8 + value) };
    expect(findingsAfter([some], null, 2)[0]!.remedy).toBe(
      'leave the machine to the bench alone, or take more rounds (--runs 21)',
    );
  });

  test('the worst of all is the one that is named', () => {
    const worse = { name: 'overlay 1 B', rounds: wild.rounds.map((value) => value ** 2) };
    for (const series of [
      [wild, worse],
      [worse, wild],
    ])
      expect(findingsAfter(series, null, 2)[0]!.message).toMatch(/^2 of 2 figures .* in overlay 1 B$/);
  });

  test('too few tell no spread', () =>
    expect(findingsAfter([{ ...steady, rounds: [1, 1, 1] }], null, 2)[0]!.message).toBe(
      '3 of nat 64 B tell no spread',
    ));

  test('what the hypervisor took meanwhile is told', () =>
    expect(about(findingsAfter([steady], { stolenCpus: 0.03 }, 2))).toEqual(['!steal']));
});

describe('how near another run comes', () => {
  /** Numbers as noise deals them out, the same each time (mulberry32, Box and Muller). */
  const normal = (seed: number): (() => number) => {
    let state = seed;
    const uniform = (): number => {
      state = (state + 0x6d_2b_79_f5) | 0;
      let t = Math.imul(state ^ (state >>> 15), 1 | state);
      t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
      return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
    };
    return () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
  };

  test.for([10, 20, 50])('%i rounds say it rightly of nine runs in ten, and are not overcautious', (count) => {
    const next = normal(7);
    const rounds = (): number[] => Array.from({ length: count }, () => 5 * (1 + 0.04 * next()));
    const held = Array.from({ length: 2000 }, () => {
      const [one, other] = [rounds(), rounds()];
      return Math.abs(median(other) / median(one) - 1) <= agreesWithin(one)!;
    });
    const share = held.filter(Boolean).length / held.length;
    expect(share).toBeGreaterThan(0.86);
    expect(share).toBeLessThan(0.98);
  });

  test('one wild round of ten says little', () => {
    const steady = [5.3, 5.32, 5.31, 5.29, 5.3, 5.33, 5.3, 5.31, 5.28];
    expect(agreesWithin([...steady, 50])).toBeLessThan(0.01);
  });
});

test('one noise makes a noisy verdict; what is only to be known does not', () => {
  const [noise, notice] = findingsBefore({ ...machine, governors: ['powersave'], turbo: true }, idle);
  expect(noiseOf([notice!]).verdict).toBe('quiet');
  expect(noiseLines(noiseOf([noise!, notice!]))).toEqual([
    'the machine is too noisy to believe it: compare CPU per packet and ratios, if anything',
    `! ${noise!.message}; ${noise!.remedy}`,
    `  ${notice!.message}; ${notice!.remedy}`,
  ]);
});

test.runIf(process.platform === 'linux')(
  'this machine is looked at, and a process that never rests is seen',
  async () => {
    const busy = spawn(process.execPath, ['-e', 'for (;;);']);
    try {
      // Tests that run beside this one may be busy too: it is among the first of them.
      if (process.geteuid?.() === 0) setPriority(busy.pid!, constants.priority.PRIORITY_HIGH);
      const ended = watchForNoise(machine.cpus);
      const findings = await lookForNoise({ ...machine, cpus: 2 });
      expect(findings.find(({ about }) => about === 'others')?.message).toContain(`(pid ${busy.pid})`);
      expect(about(ended([])).filter((each) => each !== '!steal')).toEqual([]);
    } finally {
      busy.kill('SIGKILL');
    }
  },
);
