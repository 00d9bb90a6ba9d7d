import { describe, expect, test } from 'vitest';
import type { Bytes } from '../../../src/host/units.ts';
import { MIB } from '../../../src/host/units.ts';
import { PolicyFault } from '../../../src/memory/checked.ts';
import { policyByName, policyNames } from '../../../src/memory/policies.ts';
import type { MemoryPolicy, Snapshot } from '../../../src/memory/policy.ts';
import { readTrace } from '../../../src/traces/read.ts';
import type { Trace } from '../../../src/traces/trace.ts';
import { ReplayError } from '../../../src/tuning/errors.ts';
import { place, type PlacementAsked } from '../../../src/tuning/placement.ts';
import { replay } from '../../../src/tuning/replay.ts';
import { percentiles } from '../../../src/tuning/requests.ts';

const wide = (text: string): Promise<Trace> =>
  readTrace([{ name: 'x_mib.csv', chunks: [new TextEncoder().encode(text)] }]);
const under = (trace: Trace, policy: string | MemoryPolicy, asked: PlacementAsked = {}) =>
  replay(
    place(trace, { hardLimitBytes: (100 * MIB) as Bytes, request: 'p50', ...asked }),
    typeof policy === 'string' ? policyByName(policy)! : policy,
  );

/** The total rises from 60 to 160 MiB within 100 s, 1 MiB a second. Requests (p50 of two samples) are 30, 20 and 10. */
const rising = 't_s,a,b,c\n0,30,20,10\n100,30,70,60\n';

describe('the closed loop', () => {
  test('gaia kills the one furthest over at the first look past killAt, until stopAt', async () => {
    const { kills, summary } = under(await wide(rising), 'gaia');
    // Past 105 MiB from 45.0 s on; b and c are over by the same, and b is the larger.
    expect(kills).toEqual([
      {
        atMs: 45_100,
        container: 'b',
        overBytes: Math.round((20 + 45.1 / 2) * MIB) - 20 * MIB,
        reason: expect.stringContaining('past killAt 105 MiB'),
        by: 'supervisor',
        machine: '0',
      },
    ]);
    expect(summary).toMatchObject({
      policy: 'gaia',
      containers: 3,
      samples: 6,
      machines: 1,
      kills: 1,
      killsBySupervisor: 1,
      killsByKernel: 0,
      killsWithinRequest: 0,
      spanMs: 100_000,
      overCommit: 0.6,
      machineTimeOverHardLimitMs: 5099,
    });
  });

  test('a supervisor that looks too seldom leaves it to the kernel, which takes the largest at the ceiling', async () => {
    const { kills } = under(await wide(rising), 'gaia', { lookEveryMs: 60_000 as never });
    expect(kills.map(({ atMs, container, by }) => [atMs, container, by])).toEqual([[50_001, 'b', 'kernel']]);
  });

  test('hard-limit kills each as it passes its own request', async () => {
    const { kills, summary } = under(await wide(rising), 'hard-limit');
    expect(kills.map(({ container, by, atMs }) => [container, by, atMs])).toEqual([
      ['b', 'kernel', 1],
      ['c', 'kernel', 1],
    ]);
    expect(summary.peakTotalBytes).toBe(60 * MIB);
  });

  test('a container that is off holds nothing; one that died stays dead', async () => {
    const { kills } = under(await wide('t_s,a,b\n0,30,20\n10,30,120\n20,,20\n30,30,\n40,30,\n50,30,120\n'), 'gaia');
    expect(kills.map(({ container }) => container)).toEqual(['b']);
  });

  test('machines are replayed apart', async () => {
    const trace = await wide(rising);
    const { summary } = under(trace, 'gaia', { machines: 3 });
    expect(summary).toMatchObject({ machines: 3, kills: 0, peakTotalBytes: 70 * MIB, samples: 6 });
  });

  test('the same replay twice is the same', async () => {
    const placement = place(await wide(rising), { hardLimitBytes: (100 * MIB) as Bytes, request: 'p50' });
    for (const name of policyNames)
      expect(replay(placement, policyByName(name)!)).toEqual(replay(placement, policyByName(name)!));
  });
});

describe('a recording', () => {
  const figures = (hardLimit: number, ceiling: number) => ({
    hardLimitBytes: hardLimit * MIB,
    killAtBytes: Math.round(1.2 * hardLimit * MIB),
    stopAtBytes: hardLimit * MIB,
    ceilingBytes: ceiling * MIB,
    lookEveryMs: 200,
  });
  const recording = (...rest: readonly object[]): Promise<Trace> => {
    const run = { kind: 'run', version: 1, title: 'r', backend: 'linux', policy: 'gaia', seed: 1, commit: 'c' };
    const samples = [0, 1000].flatMap((atMs) => [
      { kind: 'sample', atMs, host: 'small', totalBytes: 1, workingSetBytes: { a: 5 * MIB } },
      { kind: 'sample', atMs, host: 'big', totalBytes: 1, workingSetBytes: { b: 5 * MIB } },
    ]);
    const text = [run, ...rest, ...samples].map((line) => `${JSON.stringify(line)}\n`).join('');
    return readTrace([{ name: 'r.ndjson', chunks: [new TextEncoder().encode(text)] }]);
  };
  const SMALL = { kind: 'line', atMs: 0, host: 'small', policy: 'gaia', ...figures(60, 93) };
  const BIG = { kind: 'line', atMs: 0, host: 'big', policy: 'gaia', ...figures(333, 499) };
  const linesOf = (trace: Trace, asked: PlacementAsked) =>
    place(trace, { request: 'p50', ...asked }).machines.map(({ line }) => line);

  test('is replayed under the line of each machine, ceiling and all', async () => {
    const trace = await recording(SMALL, BIG);
    expect(linesOf(trace, {})).toEqual([figures(60, 93), figures(333, 499)]);
    expect(linesOf(trace, { hardLimitBytes: (333 * MIB) as Bytes })[1]).toEqual(figures(333, 499));
    expect(linesOf(trace, { lookEveryMs: 7 as never })[0]).toEqual({ ...figures(60, 93), lookEveryMs: 7 });
  });

  test('keeps its shares of another hard limit, as far as they go together with what is asked', async () => {
    const trace = await recording(SMALL, BIG);
    expect(linesOf(trace, { hardLimitBytes: (120 * MIB) as Bytes })[0]).toEqual(figures(120, 186));
    const [line] = linesOf(trace, { killAt: 2 });
    expect(line).toMatchObject({ hardLimitBytes: 60 * MIB, killAtBytes: 120 * MIB, stopAtBytes: 60 * MIB });
    expect(line!.ceilingBytes).toBeGreaterThan(120 * MIB);
  });

  test('on other machines than its own takes the one line it had, or must be told', async () => {
    const same = await recording(SMALL, { ...BIG, ...figures(60, 93) });
    expect(linesOf(same, { machines: 1 })).toEqual([figures(60, 93)]);
    const trace = await recording(SMALL, BIG);
    expect(() => place(trace, { request: 'p50', machines: 2 })).toThrow(
      'r: its machines had different hard limits: give --hard-limit, or leave --machines out',
    );
    expect(linesOf(trace, { machines: 1, hardLimitBytes: (50 * MIB) as Bytes })[0]!.hardLimitBytes).toBe(50 * MIB);
  });

  test('whose line was changed takes the last, and says so', async () => {
    const trace = await recording(SMALL, BIG, { ...SMALL, atMs: 500, ...figures(80, 100) });
    expect(linesOf(trace, {})[0]).toEqual(figures(80, 100));
    expect(trace.notes).toEqual(['the hard limit, or what goes with it, was changed on small: the last is taken']);
    expect((await recording(SMALL, SMALL, BIG)).notes).toEqual([]);
  });
});

describe('a signal that the trace does not hold', () => {
  test('is told where it is assumed', async () => {
    const trace = await wide(rising);
    expect(under(trace, 'kubelet').summary.assumed).toEqual(['priority']);
    expect(under(trace, 'largest-rss').summary.assumed).toEqual(['rss']);
    expect(under(trace, 'gaia').summary.assumed).toEqual([]);
    expect(under({ ...trace, priority: Float64Array.of(0, 0, 0) }, 'kubelet').summary.assumed).toEqual([]);
  });
});

describe('what cannot be replayed', () => {
  const policy: MemoryPolicy = {
    name: 'mine',
    about: '',
    needs: [],
    limits: (requestBytes) => ({ parentBytes: null, childBytes: requestBytes.map(() => null) }),
  };
  test.each([
    [
      { ...policy, needs: ['pressure'] as const },
      'policy mine decides by pressure, which a recorded trace does not hold',
    ],
    [
      { ...policy, decide: () => [{ index: 7, reason: '' }] },
      'policy mine names container 7, which is not there to be killed',
    ],
    [{ ...policy, decide: () => undefined as never }, 'policy mine: decide gives undefined'],
    [{ ...policy, decide: () => Promise.resolve([]) as never }, 'policy mine: decide gives a promise'],
    [
      { ...policy, limits: () => ({ parentBytes: null, childBytes: [null, null, Number.NaN] }) },
      'policy mine: limits gives NaN as childBytes[2]',
    ],
    [{ ...policy, decide: () => [], actsAboveBytes: () => Number.NaN }, 'policy mine: actsAboveBytes gives NaN'],
    [
      {
        ...policy,
        decide: () => {
          throw new Error('oops');
        },
      },
      'policy mine: decide throws: oops',
    ],
  ])('a policy that asks the impossible', async (bad, message) => {
    const trace = await wide(rising);
    expect(() => under(trace, bad)).toThrow(message);
    expect(() => under(trace, bad)).toThrow(bad.needs.length > 0 ? ReplayError : PolicyFault);
  });

  /** Names whom gaia names, and then writes where it should only read. */
  const scribbler = (scribble: (snapshot: Snapshot) => void): MemoryPolicy => ({
    ...policyByName('gaia')!,
    decide(snapshot) {
      const victims = policyByName('gaia')!.decide!(snapshot);
      scribble(snapshot);
      return victims;
    },
  });

  test.each<[string, (snapshot: Snapshot) => void]>([
    ['requests', ({ requestBytes }) => void requestBytes.sort()],
    ['usage', ({ workingSetBytes }) => void workingSetBytes.fill(1)],
    ['who can be killed', ({ killable }) => void killable.fill(1)],
    ['the total', (snapshot) => void Object.assign(snapshot, { totalBytes: 0, count: 0 })],
    ['whole columns', (snapshot) => void Object.assign(snapshot, { workingSetBytes: [], killable: [], names: [] })],
    ['names', ({ names }) => void (names as string[]).reverse()],
  ])('a policy that writes over %s harms nobody', async (_what, scribble) => {
    const trace = await wide(rising);
    expect(under(trace, scribbler(scribble)).kills).toEqual(under(trace, 'gaia').kills);
  });

  test('a policy that brings its victims back to life does not go on for ever', async () => {
    const revive = {
      ...policy,
      decide: ({ totalBytes, killable, killedInLook }: Snapshot) => {
        if (killedInLook === 0 && totalBytes < 105 * MIB) return [];
        killable.fill(1);
        return [{ index: 0, reason: '' }];
      },
    };
    const trace = await wide(rising);
    expect(() => under(trace, revive)).toThrow('policy mine names container 0, which is not there to be killed');
  });

  test('a policy cannot move the line for the next', async () => {
    const placement = place(await wide(rising), { hardLimitBytes: (100 * MIB) as Bytes, request: 'p50' });
    const mover = {
      ...policy,
      limits: (requestBytes: readonly number[], line: object) => {
        Object.assign(line, { killAtBytes: 0 });
        return policy.limits(requestBytes, line as never);
      },
    };
    expect(() => replay(placement, mover)).toThrow(PolicyFault);
    expect(placement.machines[0]!.line.killAtBytes).toBe(105 * MIB);
  });

  test('requests as recorded, where there are none; too many machines', async () => {
    const trace = await wide(rising);
    expect(() => place(trace, { request: 'recorded' })).toThrow('3 of 3 containers have no recorded request');
    expect(() => place(trace, { machines: 4 })).toThrow('3 containers, too few for 4 machines');
    expect(() => place(trace, { machines: 0.5 })).toThrow('0.5 machines cannot be');
  });
});

describe('requests', () => {
  test('are nearest-rank percentiles of what the container itself used', async () => {
    const rows = Array.from({ length: 200 }, (_, at) => `${at},${(at * 77) % 200},5`);
    const trace = await wide(`t_s,a,b\n${rows.join('\n')}\n`);
    const of = (share: number): number[] => [...percentiles(trace, share)].map((value) => value / MIB);
    expect([of(0.5), of(0.9), of(0.99), of(1)]).toEqual([
      [99, 5],
      [179, 5],
      [197, 5],
      [199, 5],
    ]);
  });

  test('add up over those alive at one time: that is the hard limit where nobody gives one', async () => {
    const placement = place(await wide('t_s,a,b,c\n0,10,,\n1,10,20,\n2,,20,30\n3,,,30\n'), {});
    expect(placement.machines[0]!.requestPeakBytes).toBe(50 * MIB);
    expect(placement.machines[0]!.line.hardLimitBytes).toBe(50 * MIB);
  });
});
