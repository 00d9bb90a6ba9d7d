import { describe, expect, it } from 'vitest';
import { Deadlock } from '../../../../backends/sim/simulation.ts';
import { EngineCrash } from '../../../../src/host/errors.ts';
import type { SupervisorFactory } from '../../../../src/host/supervision.ts';
import { growing, mib, ms, pass, settingsFor, simulate, startInPen, usage } from './harness.ts';

describe('virtual time', () => {
  it('starts at 0, moves only when everybody sleeps, and takes no real time', async () => {
    const simulation = simulate();
    const { clock } = simulation.host('a');
    const log: [string, number][] = [];
    const walk = async (name: string, stepMs: number, steps: number): Promise<void> => {
      for (let step = 0; step < steps; step++) {
        await clock.sleep(stepMs);
        for (let turn = 0; turn < 20; turn++) await Promise.resolve();
        log.push([name, clock.monotonicMs()]);
      }
    };
    await simulation.run(() => Promise.all([walk('a', 1000, 3), walk('b', 1500, 2), clock.sleep(86_400_000)]));
    expect(log).toEqual([
      ['a', 1000],
      ['b', 1500],
      ['a', 2000],
      ['b', 3000],
      ['a', 3000],
    ]);
    expect(simulation.nowMs()).toBe(86_400_000);
  });

  it('wall time is a fixed moment and monotonic time', async () => {
    const simulation = simulate();
    const { clock } = simulation.host('a');
    expect(new Date(clock.wallMs()).toISOString()).toBe('2026-01-01T00:00:00.000Z');
    await pass(simulation, 1500);
    expect(new Date(clock.wallMs()).toISOString()).toBe('2026-01-01T00:00:01.500Z');
  });

  it('goes on after most of a year, when an age and the time are rounded differently', async () => {
    const simulation = simulate();
    const day = 86_400_000;
    const host = await startInPen(simulation, {
      a: { memory: { kind: 'sawtooth', low: mib(1), high: mib(9), periodMs: ms(1_000_000.1) } },
    });
    for (let passed = 0; passed < 360; passed += 5) {
      await pass(simulation, 5 * day);
      expect(usage(host, 'pen/a')).toBeGreaterThanOrEqual(mib(1) - 1);
    }
    expect(simulation.nowMs()).toBe(360 * day);
  });

  it('everything that a wake-up sets off is done before the next event', async () => {
    const simulation = simulate();
    const { clock } = simulation.host('a');
    const log: string[] = [];
    await simulation.run(async () => {
      const second = clock.sleep(10).then(() => log.push('second'));
      await clock.sleep(5);
      const chained = async (depth: number): Promise<void> => {
        if (depth > 0) await chained(depth - 1);
      };
      await chained(500);
      log.push(`first at ${clock.monotonicMs()}`);
      await second;
    });
    expect(log).toEqual(['first at 5', 'second']);
  });

  it('an aborted sleep leaves nothing behind that time would go to', async () => {
    const simulation = simulate();
    const { clock } = simulation.host('a');
    const stop = new AbortController();
    await simulation.run(async () => {
      const long = clock.sleep(1e9, stop.signal);
      await clock.sleep(10);
      stop.abort();
      await long;
    });
    expect(simulation.nowMs()).toBe(10);
    await expect(simulation.run(() => new Promise(() => undefined))).rejects.toThrow(Deadlock);
    expect(simulation.nowMs()).toBe(10);
  });

  it('says so when nothing will ever happen again, and can go on after it', async () => {
    const simulation = simulate();
    await pass(simulation, 250);
    const waiting = simulation.run(() => new Promise(() => undefined));
    await expect(waiting).rejects.toThrow(/at 250 ms the work still waits, but nothing is due/);
    await pass(simulation, 250);
    expect(simulation.nowMs()).toBe(500);
  });

  it('hands on what the work returns or throws', async () => {
    const simulation = simulate();
    const { clock } = simulation.host('a');
    await expect(simulation.run(() => clock.sleep(5).then(() => 'done'))).resolves.toBe('done');
    const failing = (): Promise<void> =>
      clock.sleep(5).then(() => {
        throw new Error('as it fell out');
      });
    await expect(simulation.run(failing)).rejects.toThrow('as it fell out');
    expect(simulation.nowMs()).toBe(10);
  });

  it('runs one work at a time', async () => {
    const simulation = simulate();
    await simulation.run(async () => {
      await expect(simulation.run(async () => undefined)).rejects.toThrow('the simulation runs already');
    });
  });
});

describe('a crash of the engine', () => {
  it('ends its handle: every call throws and changes nothing, whatever it waited for is over', async () => {
    const simulation = simulate();
    const engine = simulation.connect('a');
    await simulation.run(() => engine.cgroups.create([{ path: 'pen' }]));
    const reader = engine.cgroups.open('pen');
    const sleeping = engine.clock.sleep(1e6);
    simulation.crash('a');
    await expect(sleeping).rejects.toThrow(EngineCrash);
    const batches: (() => Promise<unknown>)[] = [
      () => engine.cgroups.create([{ path: 'other' }]),
      () => engine.cgroups.limit([{ path: 'pen', limitBytes: mib(1) }]),
      () => engine.cgroups.remove(['pen']),
      () => engine.cgroups.list(),
      () => engine.containers.start([]),
      () => engine.containers.stop(['x']),
      () => engine.containers.list(),
      () => engine.supervision.supervise([settingsFor('pen')]),
      () => engine.supervision.release(['pen']),
      () => engine.supervision.list(),
      () => engine.store.read(''),
      () => engine.store.commit({ put: [{ key: 'k', value: 'v' }] }),
      () => engine.machine.describe(),
      () => engine.clock.sleep(1),
    ];
    for (const call of batches) await expect(simulation.run(call)).rejects.toThrow(EngineCrash);
    const calls: (() => unknown)[] = [
      () => engine.cgroups.open('pen'),
      () => engine.cgroups.kill('pen'),
      () => engine.supervision.take(),
      () => engine.clock.monotonicMs(),
      () => engine.clock.wallMs(),
      () => reader.usageBytes(),
    ];
    for (const call of calls) expect(call).toThrow(EngineCrash);
    const host = simulation.host('a');
    expect((await host.cgroups.list()).map(({ path, limitBytes }) => [path, limitBytes])).toEqual([['pen', null]]);
    expect(await host.store.read('')).toEqual([]);
    expect(await host.supervision.list()).toEqual([]);
  });

  it('leaves containers, supervisors, their events and the store to the next engine', async () => {
    const looks: number[] = [];
    const supervisor: SupervisorFactory = (_cgroups, _settings, emit) => ({
      look(nowMs) {
        looks.push(nowMs);
        emit({ kind: 'look', atMs: nowMs, totalBytes: 0 });
        return nowMs + 100;
      },
      configure: () => undefined,
      close: () => undefined,
    });
    const simulation = simulate({ supervisor });
    const host = await startInPen(simulation, { a: growing(10) });
    const first = simulation.connect('a');
    await simulation.run(async () => {
      await first.supervision.supervise([settingsFor('pen')]);
      await first.store.commit({ put: [{ key: 'requests/a', value: '{}' }] });
      await first.clock.sleep(250);
    });
    simulation.crash('a');
    await pass(simulation, 200);
    const second = simulation.connect('a');
    expect(looks).toEqual([0, 100, 200, 300, 400]);
    expect(second.supervision.take().map(({ atMs }) => atMs)).toEqual([0, 100, 200, 300, 400]);
    expect(second.supervision.take()).toEqual([]);
    await simulation.run(async () => {
      expect((await second.store.read('')).map(({ key }) => key)).toEqual(['requests/a']);
      expect((await second.containers.list()).map(({ phase }) => phase)).toEqual(['running']);
    });
    expect(() => first.cgroups.open('pen')).toThrow(EngineCrash);
    expect(usage(host, 'pen')).toBeGreaterThan(4 * 1024 * 1024);
  });

  it('takes down every connection of that engine, and no other host', async () => {
    const simulation = simulate({
      hosts: ['a', 'b'].map((name) => ({ name, ramBytes: mib(1024), cpus: 1, cgroupVersion: 2 as const })),
    });
    const [one, two, other] = [simulation.connect('a'), simulation.connect('a'), simulation.connect('b')];
    simulation.crash('a');
    expect(() => one.clock.monotonicMs()).toThrow(EngineCrash);
    expect(() => two.clock.monotonicMs()).toThrow(EngineCrash);
    expect(other.clock.monotonicMs()).toBe(0);
    expect(simulation.connect('a').clock.monotonicMs()).toBe(0);
  });
});

describe('a simulation', () => {
  it('is a function of its options: the same seed gives the same run', async () => {
    const story = async (seed: number): Promise<string> => {
      const log: unknown[] = [];
      const supervisor: SupervisorFactory = (cgroups, settings, emit) => {
        const reader = cgroups.open('pen');
        return {
          look(nowMs) {
            try {
              emit({ kind: 'look', atMs: nowMs, totalBytes: reader.usageBytes() });
            } catch (error) {
              emit({ kind: 'trouble', atMs: nowMs, message: String(error) });
            }
            return nowMs + settings.line.lookEveryMs;
          },
          configure: () => undefined,
          close: () => reader.close(),
        };
      };
      const faults = [{ on: 'supervisor.read', times: 1e9, chance: 0.3, do: { fail: 'EIO' } }] as const;
      const simulation = simulate({ seed, supervisor, faults, cgroupVersion: 1 });
      const host = await startInPen(
        simulation,
        { a: growing(30), b: { ...growing(20), processes: 3 }, c: { ...growing(5), endsAfterMs: ms(4000) } },
        { pen: 200 },
      );
      await simulation.run(() => host.supervision.supervise([settingsFor('pen', 70)]));
      for (let second = 0; second < 10; second++) {
        await pass(simulation, 1000);
        log.push(host.supervision.take(), await host.cgroups.list());
      }
      return JSON.stringify(log);
    };
    const one = await story(1);
    expect(one).toMatch(/EIO/);
    expect(await story(1)).toBe(one);
    expect(await story(2)).not.toBe(one);
  });

  it('gives generators by label', () => {
    const draw = (seed: number, label: string): number => simulate({ seed }).random(label).next();
    expect(draw(1, 'jitter')).toBe(draw(1, 'jitter'));
    expect(draw(1, 'jitter')).not.toBe(draw(1, 'other'));
    expect(draw(1, 'jitter')).not.toBe(draw(2, 'jitter'));
  });

  it('knows its hosts', () => {
    expect(() => simulate().host('b')).toThrow(new RangeError('there is no host "b"; there is a'));
    const faults = [{ host: 'b', on: 'cgroups.create', do: { fail: 'EIO' } }] as const;
    expect(() => simulate({ faults })).toThrow(new RangeError('a fault on host "b": there is no such host'));
  });
});
