import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { GIB, KIB, MIB } from '../../../../src/host/units.ts';
import { constant, growing, mib, ms, oomKills, pass, runningIn, simulate, startInPen, stat, usage } from './harness.ts';

describe('charging', () => {
  it('v1 moves in steps of 256 KiB, v2 in pages', async () => {
    for (const [cgroupVersion, step] of [
      [1, 256 * KIB],
      [2, 4 * KIB],
    ] as const) {
      const simulation = simulate({ cgroupVersion });
      const host = await startInPen(simulation, { a: growing(1) });
      const seen = new Set<number>();
      for (let round = 0; round < 200; round++) {
        await pass(simulation, 5.3);
        seen.add(usage(host, 'pen/a'));
      }
      const steps = [...seen].sort((a, b) => a - b);
      expect(steps.every((value) => value % step === 0)).toBe(true);
      expect(steps.length).toBe(cgroupVersion === 1 ? 5 : 200);
      expect(usage(host, 'pen/a')).toBeGreaterThanOrEqual(1.06 * MIB);
    }
  });

  it("a parent's counter is the sum of its children's, and its stat the sum of theirs", async () => {
    const simulation = simulate({ cgroupVersion: 1 });
    const cache = { bytes: mib(30), bytesPerSecond: mib(7), activeShare: 0.25 };
    const host = await startInPen(simulation, {
      a: growing(3),
      b: { ...growing(5), cache },
      c: { ...constant(9), shared: true },
    });
    await pass(simulation, 1234);
    const paths = ['pen/a', 'pen/b', 'pen/c'];
    expect(usage(host, 'pen')).toBe(paths.reduce((sum, path) => sum + usage(host, path), 0));
    const [a, b, c] = paths.map((path) => stat(host, path));
    expect(stat(host, 'pen')).toEqual({
      anonBytes: a!.anonBytes + b!.anonBytes,
      fileBytes: b!.fileBytes + c!.fileBytes,
      inactiveFileBytes: b!.inactiveFileBytes,
      shmemBytes: c!.shmemBytes,
    });
    expect(b!.fileBytes / MIB).toBeCloseTo(7 * 1.234, 1);
    expect(b!.inactiveFileBytes / b!.fileBytes).toBeCloseTo(0.75, 2);
    expect(c).toMatchObject({ anonBytes: 0, shmemBytes: 9 * MIB, fileBytes: 9 * MIB, inactiveFileBytes: 0 });
  });

  it('a jump is followed at the speed at which a process touches memory', async () => {
    const simulation = simulate();
    const host = await startInPen(simulation, { a: constant(1024) });
    await pass(simulation, 250);
    expect(usage(host, 'pen/a') / MIB).toBeCloseTo(512, 0);
    await pass(simulation, 251);
    expect(usage(host, 'pen/a')).toBe(GIB);
  });

  it('a sawtooth rises and drops, and peak keeps the highest', async () => {
    const simulation = simulate();
    const sawtooth = { kind: 'sawtooth', low: mib(0), high: mib(100), periodMs: ms(1000) } as const;
    const host = await startInPen(simulation, { a: { memory: sawtooth } });
    await pass(simulation, 100_250);
    expect(usage(host, 'pen/a') / MIB).toBeCloseTo(25, 1);
    const [pen, a] = await host.cgroups.list();
    expect(a!.peakBytes / MIB).toBeCloseTo(100, 1);
    expect(pen!.peakBytes).toBe(a!.peakBytes);
  });

  it('reading changes nothing: looked at often or once, the end is the same', async () => {
    const outcome = async (everyMs: number): Promise<unknown> => {
      const simulation = simulate();
      const host = await startInPen(
        simulation,
        {
          a: { ...growing(40), cache: { bytes: mib(200), bytesPerSecond: mib(90), activeShare: 0.5 } },
          b: { memory: { kind: 'sawtooth', low: mib(10), high: mib(60), periodMs: ms(333) }, processes: 2 },
          c: { ...growing(11), endsAfterMs: ms(3210) },
        },
        { pen: 300, 'pen/b': 50 },
      );
      for (let atMs = 0; atMs < 6000; atMs += everyMs) {
        await pass(simulation, everyMs);
        stat(host, 'pen');
        usage(host, 'pen/a');
      }
      return [await host.cgroups.list(), await host.containers.list(), usage(host, 'pen')];
    };
    expect(await outcome(1)).toEqual(await outcome(6000));
  });
});

describe('limits', () => {
  it('usage never reads past the limit, and the kernel kills at it, not before', async () => {
    const simulation = simulate({ cgroupVersion: 1 });
    const host = await startInPen(simulation, { a: growing(64) }, { 'pen/a': 100 });
    await pass(simulation, 1562.4);
    expect(await oomKills(host)).toEqual({});
    expect(usage(host, 'pen/a')).toBe(100 * MIB);
    await pass(simulation, 0.2);
    expect(await oomKills(host)).toEqual({ 'pen/a': 1 });
    expect((await host.cgroups.list()).find(({ path }) => path === 'pen/a')!.peakBytes).toBe(100 * MIB);
  });

  it('inactive file goes first, then active, then a process', async () => {
    const simulation = simulate();
    const host = await startInPen(
      simulation,
      { a: growing(50), b: { ...constant(10), cache: { bytes: mib(40), bytesPerSecond: mib(400), activeShare: 0.5 } } },
      { pen: 100 },
    );
    await pass(simulation, 1000);
    expect(stat(host, 'pen/b').inactiveFileBytes / MIB).toBeCloseTo(20, 0);
    await pass(simulation, 200); // 60 of anonymous memory beside the 10: 10 of the cache are gone
    const first = stat(host, 'pen/b');
    expect(first.inactiveFileBytes / MIB).toBeCloseTo(10, 0);
    expect((first.fileBytes - first.inactiveFileBytes) / MIB).toBeCloseTo(20, 1);
    await pass(simulation, 400);
    const then = stat(host, 'pen/b');
    expect(then.inactiveFileBytes).toBeLessThan(0.3 * MIB);
    expect(then.fileBytes / MIB).toBeCloseTo(10, 0);
    expect(await oomKills(host)).toEqual({});
    await pass(simulation, 199);
    expect(await oomKills(host)).toEqual({});
    await pass(simulation, 2);
    expect(await oomKills(host)).toEqual({ 'pen/a': 1 });
  });

  it('one who only reads files under a full limit lives on its own cache', async () => {
    const simulation = simulate();
    const reads = { ...constant(99.9), cache: { bytes: mib(5000), bytesPerSecond: mib(100) } };
    const host = await startInPen(simulation, { a: reads }, { pen: 100 });
    await pass(simulation, 10_000);
    expect(await oomKills(host)).toEqual({});
    expect(usage(host, 'pen')).toBeLessThanOrEqual(100 * MIB);
  });

  it('the largest process dies, not the one that grows, nor the largest container', async () => {
    const simulation = simulate();
    const host = await startInPen(
      simulation,
      { grows: growing(40), large: constant(50), many: { ...constant(60), processes: 3 } },
      { pen: 150 },
    );
    await pass(simulation, 1100);
    expect(await oomKills(host)).toEqual({ 'pen/large': 1 });
    expect(await runningIn(host)).toEqual(['grows', 'many']);
  });

  it("a container's own limit is met before its parent's, where both are at the same moment", async () => {
    const simulation = simulate();
    const host = await startInPen(simulation, { a: growing(50), b: constant(100) }, { 'pen/a': 50, pen: 150 });
    await pass(simulation, 1100);
    expect(await oomKills(host)).toEqual({ 'pen/a': 1 });
  });

  it('takes one process at a time; a container with none left has exited', async () => {
    const simulation = simulate();
    const host = await startInPen(simulation, { a: { ...growing(60), processes: 3 } }, { pen: 90 });
    await pass(simulation, 1520);
    expect(await oomKills(host)).toEqual({ 'pen/a': 1 });
    expect(simulation.processes('a', 'pen/a')).toBe(2);
    expect(await runningIn(host)).toEqual(['a']);
    // Two follow two thirds of the curve: 90 MiB at 2250 ms; one a third: 90 MiB at 4500 ms.
    await pass(simulation, 740);
    expect(await oomKills(host)).toEqual({ 'pen/a': 2 });
    await pass(simulation, 2260);
    expect((await host.containers.list())[0]).toMatchObject({ phase: 'exited', oomKilled: true });
  });

  it('of equal processes the kernel takes the one it meets last', async () => {
    const simulation = simulate();
    const host = await startInPen(simulation, { b: growing(50), a: growing(50) }, { pen: 100 });
    await pass(simulation, 1010);
    expect(await oomKills(host)).toEqual({ 'pen/a': 1 });
  });

  it('a jump past the limit meets it on the way: who is larger at that moment dies', async () => {
    const simulation = simulate();
    const jump = {
      kind: 'burst',
      base: mib(1),
      peak: mib(900),
      atMs: ms(1000),
      riseMs: ms(0),
      holdMs: ms(9000),
    } as const;
    const host = await startInPen(simulation, { jumps: { memory: jump }, stands: constant(600) }, { pen: 1000 });
    await pass(simulation, 1300);
    expect(await oomKills(host)).toEqual({ 'pen/stands': 1 });
    await pass(simulation, 1000);
    expect(usage(host, 'pen')).toBe(900 * MIB);
    expect(await oomKills(host)).toEqual({ 'pen/stands': 1 });
  });

  it('while a victim dies the others wait: nobody else is killed for its memory', async () => {
    const simulation = simulate();
    const jump = {
      kind: 'burst',
      base: mib(0),
      peak: mib(150),
      atMs: ms(1000),
      riseMs: ms(0),
      holdMs: ms(9000),
    } as const;
    // 1 GiB goes in 80 ms, 13 MiB/ms; eight that jump want 16 MiB/ms.
    const jumping = Object.fromEntries(Array.from({ length: 8 }, (_, index) => [`j${index}`, { memory: jump }]));
    const host = await startInPen(simulation, { victim: constant(1024), ...jumping }, { pen: 1200 });
    await pass(simulation, 2000);
    expect(await oomKills(host)).toEqual({ 'pen/victim': 1 });
    expect(usage(host, 'pen')).toBe(1200 * MIB);
    expect((await host.cgroups.list())[0]!.peakBytes).toBe(1200 * MIB);
  });

  it('the machine itself is the last limit', async () => {
    const simulation = simulate({ ramBytes: GIB });
    const host = await startInPen(simulation, { a: growing(400), b: growing(200) });
    await pass(simulation, 1800);
    expect(await oomKills(host)).toEqual({ 'pen/a': 1 });
    expect(await runningIn(host)).toEqual(['b']);
  });

  it.each([1, 2] as const)(
    'v%d leaves a refused limit as it was; v1 has given the cache back for it',
    async (cgroupVersion) => {
      const simulation = simulate({ cgroupVersion });
      const host = await startInPen(simulation, {
        a: { ...constant(50), cache: { bytes: mib(30), bytesPerSecond: mib(300) } },
      });
      await pass(simulation, 1000);
      const { error } = await simulation.run(() => host.cgroups.limit([{ path: 'pen/a', limitBytes: mib(40) }]));
      expect(error?.code).toBe('EBUSY');
      expect(stat(host, 'pen/a').anonBytes).toBe(50 * MIB);
      expect(stat(host, 'pen/a').inactiveFileBytes > 0).toBe(cgroupVersion === 2);
    },
  );
});

const memoryCurve = fc.oneof(
  fc.record({ kind: fc.constant('constant' as const), bytes: fc.integer({ min: 0, max: 300 }).map(mib) }),
  fc.record({
    kind: fc.constant('ramp' as const),
    from: fc.integer({ min: 0, max: 50 }).map(mib),
    to: fc.integer({ min: 0, max: 300 }).map(mib),
    startMs: fc.integer({ min: 0, max: 500 }).map(ms),
    overMs: fc.integer({ min: 0, max: 1500 }).map(ms),
  }),
  fc.record({
    kind: fc.constant('sawtooth' as const),
    low: fc.integer({ min: 0, max: 20 }).map(mib),
    high: fc.integer({ min: 20, max: 200 }).map(mib),
    periodMs: fc.double({ min: 1, max: 900, noNaN: true }).map(ms),
  }),
  fc.record({
    kind: fc.constant('leak' as const),
    from: fc.integer({ min: 0, max: 50 }).map(mib),
    bytesPerSecond: fc.integer({ min: 0, max: 400 }).map(mib),
  }),
);

const workload = fc.record(
  {
    memory: memoryCurve,
    cache: fc.record({
      bytes: fc.integer({ min: 0, max: 300 }).map(mib),
      bytesPerSecond: fc.integer({ min: 0, max: 400 }).map(mib),
      activeShare: fc.double({ min: 0, max: 1, noNaN: true }),
    }),
    processes: fc.integer({ min: 1, max: 4 }),
    shared: fc.boolean(),
    endsAfterMs: fc.integer({ min: 0, max: 2500 }).map(ms),
  },
  { requiredKeys: ['memory'] },
);

it('whatever runs: no cgroup reads past its limit, parents are the sum of their children, and reading changes nothing', async () => {
  let killed = 0;
  let runs = 0;
  const property = fc.asyncProperty(
    fc.dictionary(fc.constantFrom('a', 'b', 'c', 'd'), workload, { minKeys: 1 }),
    fc.dictionary(fc.constantFrom('pen', 'pen/a', 'pen/b'), fc.integer({ min: 10, max: 600 })),
    fc.constantFrom(1, 2),
    async (workloads, limitsMib, cgroupVersion) => {
      const limits = Object.fromEntries(
        Object.entries(limitsMib).filter(([path]) => path === 'pen' || path.slice(4) in workloads),
      );
      const outcome = async (everyMs: number): Promise<unknown> => {
        const simulation = simulate({ cgroupVersion });
        const host = await startInPen(simulation, workloads, limits);
        for (let atMs = 0; atMs < 3000; atMs += everyMs) {
          await pass(simulation, everyMs);
          for (const [path, limit] of Object.entries(limits)) {
            expect(usage(host, path)).toBeLessThanOrEqual(limit * MIB);
            const { anonBytes, fileBytes } = stat(host, path);
            expect(anonBytes + fileBytes).toBeLessThanOrEqual(limit * MIB + 20 * 4096);
          }
          const sum = Object.keys(workloads).reduce((total, name) => total + usage(host, `pen/${name}`), 0);
          const pen = usage(host, 'pen');
          expect(pen === sum || (pen < sum && sum - pen < MIB * Object.keys(workloads).length)).toBe(true);
        }
        const kills = await oomKills(host);
        if (Object.keys(kills).length > 0) killed++;
        runs++;
        return [kills, await host.containers.list(), await host.cgroups.list(), stat(host, 'pen')];
      };
      expect(await outcome(100)).toEqual(await outcome(3000));
    },
  );
  await fc.assert(property, { numRuns: 60, seed: 4711 });
  expect(killed / runs).toBeGreaterThan(0.05);
});
