import { describe, expect, it } from 'vitest';
import { checkFault, type Fault } from '../../../../backends/sim/faults.ts';
import { EngineCrash, HostError } from '../../../../src/host/errors.ts';
import type { SupervisorFactory } from '../../../../src/host/supervision.ts';
import { MIB } from '../../../../src/host/units.ts';
import { constant, growing, mib, pass, runningIn, settingsFor, simulate, startInPen, usage } from './harness.ts';

const paths = (count: number) => Array.from({ length: count }, (_, index) => ({ path: `g${index}` }));

const made = async (simulation: ReturnType<typeof simulate>): Promise<string[]> =>
  (await simulation.host('a').cgroups.list()).map(({ path }) => path);

describe('a fault that fails', () => {
  it('refuses at any prefix of a batch, naming the target after it', async () => {
    for (const after of [0, 1, 2]) {
      const simulation = simulate({ faults: [{ on: 'cgroups.create', after, do: { fail: 'ENOSPC' } }] });
      const { applied, error } = await simulation.run(() => simulation.connect('a').cgroups.create(paths(3)));
      expect(applied).toBe(after);
      expect(error).toMatchObject({ code: 'ENOSPC', operation: 'cgroups.create', target: `g${after}` });
      expect(await made(simulation)).toEqual(['g0', 'g1', 'g2'].slice(0, after));
    }
  });

  it('cannot fail after the last target of a batch: there is none to name', async () => {
    const simulation = simulate({ faults: [{ on: 'cgroups.create', after: 3, do: { fail: 'ENOSPC' } }] });
    expect(await simulation.run(() => simulation.connect('a').cgroups.create(paths(3)))).toEqual({ applied: 3 });
  });

  it('rejects a call that is no batch, and throws from one that is over at once', async () => {
    const simulation = simulate({
      faults: [
        { on: 'store.commit', do: { fail: 'EIO' } },
        { on: 'cgroups.read', nth: 2, do: { fail: 'EMFILE' } },
        { on: 'cgroups.kill', do: { fail: 'EPERM' } },
      ],
    });
    const host = simulation.connect('a');
    await simulation.run(async () => {
      await expect(host.store.commit({ put: [{ key: 'k', value: 'v' }] })).rejects.toMatchObject({ code: 'EIO' });
      expect(await host.store.read('')).toEqual([]);
      await host.cgroups.create([{ path: 'pen' }]);
    });
    const reader = host.cgroups.open('pen');
    expect(reader.usageBytes()).toBe(0);
    expect(() => reader.usageBytes()).toThrow(HostError);
    expect(reader.usageBytes()).toBe(0);
    expect(() => host.cgroups.kill('pen')).toThrow('cgroups.kill pen: a fault of the simulation (EPERM)');
  });

  it('strikes the n-th call from its time on, so many times in a row, on its host', async () => {
    const hosts = ['a', 'b'].map((name) => ({ name, ramBytes: mib(64), cpus: 1, cgroupVersion: 2 as const }));
    const faults: Fault[] = [{ host: 'a', on: 'cgroups.create', atMs: 100, nth: 2, times: 2, do: { fail: 'EIO' } }];
    const simulation = simulate({ hosts, faults });
    const tried = async (name: string): Promise<string> => {
      const host = simulation.connect(name);
      const { error } = await simulation.run(() => host.cgroups.create([{ path: 'x' }]));
      return error?.code ?? 'ok';
    };
    expect([await tried('a'), await tried('a'), await tried('a')]).toEqual(['ok', 'ok', 'ok']);
    await pass(simulation, 100);
    const outcomes = [];
    for (let round = 0; round < 5; round++) outcomes.push(await tried('a'), await tried('b'));
    expect(outcomes).toEqual(['ok', 'ok', 'EIO', 'ok', 'EIO', 'ok', 'ok', 'ok', 'ok', 'ok']);
  });

  it('strikes a whole capability, where it can', async () => {
    const simulation = simulate({ faults: [{ on: 'cgroups.*', times: 100, do: { fail: 'EACCES' } }] });
    const host = simulation.connect('a');
    await simulation.run(async () => {
      expect((await host.cgroups.create(paths(1))).error?.code).toBe('EACCES');
      await expect(host.cgroups.list()).rejects.toMatchObject({ code: 'EACCES' });
      expect(await host.containers.list()).toEqual([]);
    });
  });

  it('leaves observers alone', async () => {
    const simulation = simulate({ faults: [{ on: 'cgroups.*', times: 100, do: { fail: 'EACCES' } }] });
    expect(await simulation.run(() => simulation.host('a').cgroups.create(paths(1)))).toEqual({ applied: 1 });
  });

  it('is refused where it names no call, or one that it cannot befall', () => {
    const refusal = (on: string, what: Fault['do']) => () => simulate({ faults: [{ on, do: what }] });
    expect(refusal('cgroups.creat', { fail: 'EIO' })).toThrow(/a fault on "cgroups.creat": there is no such call/);
    expect(refusal('clock.sleep', { fail: 'EIO' })).toThrow(
      'a fault on "clock.sleep" cannot fail; it can delay or crash',
    );
    expect(refusal('supervisor.read', { crash: 'before' })).toThrow(RangeError);
    expect(() => checkFault({ on: 'supervisor.kill', do: { crash: 'after' } })).toThrow('it can delay or fail');
    expect(() => checkFault({ on: 'store.*', do: { crash: 'after' } })).not.toThrow();
  });
});

describe('a fault that delays', () => {
  it('lets a call take effect later', async () => {
    const simulation = simulate({ faults: [{ on: 'cgroups.create', do: { delayMs: 300 } }] });
    await simulation.run(async () => {
      const creating = simulation.connect('a').cgroups.create(paths(1));
      await simulation.host('a').clock.sleep(299);
      expect(await made(simulation)).toEqual([]);
      expect(await creating).toEqual({ applied: 1 });
      expect(simulation.nowMs()).toBe(300);
    });
  });

  it('gives the value of that long ago on a read, as far back as there is one', async () => {
    const simulation = simulate({ faults: [{ on: 'cgroups.read', atMs: 500, times: 1000, do: { delayMs: 300 } }] });
    const host = await startInPen(simulation, { a: growing(100) });
    const reader = simulation.connect('a').cgroups.open('pen/a');
    const late: number[] = [];
    const true_: number[] = [];
    for (let round = 0; round < 12; round++) {
      late.push(Math.round(reader.usageBytes() / MIB));
      true_.push(Math.round(usage(host, 'pen/a') / MIB));
      await pass(simulation, 100);
    }
    expect(true_).toEqual([0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110]);
    expect(late).toEqual([0, 10, 20, 30, 40, 20, 30, 40, 50, 60, 70, 80]);
    const stat = reader.readStat({ anonBytes: 0, fileBytes: 0, inactiveFileBytes: 0, shmemBytes: 0 });
    expect(Math.round(stat.anonBytes / MIB)).toBe(90);
  });

  it('adds up with others on the same read', async () => {
    const late = { on: 'cgroups.read', atMs: 500, times: 1000, do: { delayMs: 200 } } as const;
    const simulation = simulate({ faults: [late, late] });
    await startInPen(simulation, { a: growing(100) });
    const reader = simulation.connect('a').cgroups.open('pen/a');
    const seen: number[] = [];
    for (let round = 0; round < 10; round++) {
      seen.push(Math.round(reader.usageBytes() / MIB));
      await pass(simulation, 100);
    }
    expect(seen).toEqual([0, 10, 20, 30, 40, 10, 20, 30, 40, 50]);
  });

  it('lets a kill return at once and take effect later', async () => {
    const simulation = simulate({ faults: [{ on: 'cgroups.kill', do: { delayMs: 50 } }] });
    const host = await startInPen(simulation, { a: constant(1) });
    simulation.connect('a').cgroups.kill('pen/a');
    expect(() => simulation.connect('a').cgroups.kill('pen/b')).toThrow(/ENOENT/);
    await pass(simulation, 50.5);
    expect(await runningIn(host)).toEqual(['a']);
    await pass(simulation, 1);
    expect(await runningIn(host)).toEqual([]);
  });

  it('makes the clock late, but never lets it go back', async () => {
    const simulation = simulate({ faults: [{ on: 'clock.monotonicMs', nth: 2, do: { delayMs: 500 } }] });
    const { clock } = simulation.connect('a');
    const seen: number[] = [];
    for (let round = 0; round < 3; round++) {
      await pass(simulation, 200);
      seen.push(clock.monotonicMs());
    }
    expect(seen).toEqual([200, 200, 600]);
  });
});

describe('a fault that crashes', () => {
  it('leaves any prefix of a batch applied', async () => {
    for (const [what, expected] of [
      [{ do: { crash: 'before' } }, []],
      [{ do: { crash: 'before' }, after: 1 }, ['g0']],
      [{ do: { crash: 'before' }, after: 3 }, ['g0', 'g1', 'g2']],
      [{ do: { crash: 'after' } }, ['g0', 'g1', 'g2']],
    ] as const) {
      const simulation = simulate({ faults: [{ on: 'cgroups.create', ...what }] });
      const engine = simulation.connect('a');
      await expect(simulation.run(() => engine.cgroups.create(paths(3)))).rejects.toThrow(EngineCrash);
      expect(await made(simulation)).toEqual(expected);
      expect(() => engine.clock.monotonicMs()).toThrow(EngineCrash);
      // The next engine is not struck again.
      expect(await simulation.run(() => simulation.connect('a').cgroups.create(paths(3)))).toEqual({ applied: 3 });
    }
  });

  it('comes before or after a commit or a kill has taken effect', async () => {
    for (const crash of ['before', 'after'] as const) {
      const simulation = simulate({
        faults: [
          { on: 'store.commit', do: { crash } },
          { on: 'cgroups.kill', do: { crash } },
        ],
      });
      const host = await startInPen(simulation, { a: constant(1) });
      const commit = () => simulation.connect('a').store.commit({ put: [{ key: 'k', value: 'v' }] });
      await expect(simulation.run(commit)).rejects.toThrow(EngineCrash);
      expect(await host.store.read('')).toHaveLength(crash === 'after' ? 1 : 0);
      expect(() => simulation.connect('a').cgroups.kill('pen/a')).toThrow(EngineCrash);
      await pass(simulation, 10);
      expect(await runningIn(host)).toEqual(crash === 'after' ? [] : ['a']);
    }
  });

  it('can be put at every point of a run, one after the other, each leaving one more change', async () => {
    const attempt = async (crashPoint?: number): Promise<[string, boolean, number]> => {
      const simulation = simulate(crashPoint === undefined ? {} : { crashPoint });
      const engine = simulation.connect('a');
      const work = async (): Promise<void> => {
        await engine.store.commit({ put: [{ key: 'k', value: 'v' }] });
        await engine.cgroups.create(paths(2));
        await engine.cgroups.list();
        await engine.cgroups.remove(['g1']);
      };
      const crashed = await simulation.run(work).then(
        () => false,
        (error: unknown) => error instanceof EngineCrash,
      );
      const host = simulation.host('a');
      const state = [(await host.store.read('')).map(({ key }) => key), await made(simulation)].flat().join(' ');
      return [state, crashed, simulation.crashPoints()];
    };
    const [end, crashed, points] = await attempt();
    expect([end, crashed, points]).toEqual(['k g0', false, 8]);
    const states = [];
    for (let point = 0; point < points; point++) {
      const [state, crashedHere] = await attempt(point);
      expect(crashedHere).toBe(true);
      states.push(state);
    }
    expect(states).toEqual(['', 'k', 'k', 'k g0', 'k g0 g1', 'k g0 g1', 'k g0 g1', 'k g0']);
    expect((await attempt(points))[1]).toBe(false);
  });
});

describe("the supervisor's faults", () => {
  const reading =
    (seen: (number | string)[]): SupervisorFactory =>
    (cgroups, settings) => ({
      look(nowMs) {
        try {
          seen.push(Math.round(cgroups.open('pen').usageBytes() / MIB));
        } catch (error) {
          seen.push((error as HostError).code);
        }
        return nowMs + settings.line.lookEveryMs;
      },
      configure: () => undefined,
      close: () => undefined,
    });

  it("are its own: an engine's do not touch it, and its do not touch the engine", async () => {
    const seen: (number | string)[] = [];
    const simulation = simulate({
      supervisor: reading(seen),
      faults: [
        { on: 'supervisor.read', nth: 2, do: { fail: 'EIO' } },
        { on: 'cgroups.read', times: 100, do: { fail: 'EPERM' } },
      ],
    });
    const host = await startInPen(simulation, { a: growing(100) });
    await simulation.run(() => host.supervision.supervise([settingsFor('pen')]));
    await pass(simulation, 250);
    expect(seen).toEqual([0, 'EIO', 20]);
    expect(() => simulation.connect('a').cgroups.open('pen').usageBytes()).toThrow(/EPERM/);
  });

  it('can be late to look, and can die of a look', async () => {
    const seen: (number | string)[] = [];
    const simulation = simulate({
      supervisor: reading(seen),
      faults: [
        { on: 'supervisor.look', nth: 2, do: { delayMs: 250 } },
        { on: 'supervisor.look', nth: 4, do: { crash: 'before' } },
      ],
    });
    const host = await startInPen(simulation, { a: growing(100) });
    await simulation.run(() => host.supervision.supervise([settingsFor('pen')]));
    await pass(simulation, 500);
    expect(seen).toEqual([0, 35, 45]);
    expect(await host.supervision.list()).toHaveLength(1);
    await pass(simulation, 500);
    expect(seen).toEqual([0, 35, 45]);
    expect(await host.supervision.list()).toEqual([]);
    await simulation.run(() => host.supervision.supervise([settingsFor('pen')]));
    await pass(simulation, 50);
    expect(seen).toEqual([0, 35, 45, 100]);
  });
});

it('afterStep hears of every batch an engine sent, refused and crashed ones too', async () => {
  const steps: unknown[] = [];
  const simulation = simulate({
    afterStep: (step) => steps.push(step),
    faults: [{ on: 'cgroups.remove', do: { crash: 'after' } }],
  });
  const engine = simulation.connect('a');
  await simulation.run(async () => {
    await engine.cgroups.create(paths(2));
    await engine.clock.sleep(10);
    await engine.cgroups.create([{ path: 'no/where' }]);
    await engine.cgroups.list();
    await expect(engine.cgroups.remove(['g0'])).rejects.toThrow(EngineCrash);
  });
  expect(steps).toEqual([
    { host: 'a', verb: 'cgroups.create', atMs: 0 },
    { host: 'a', verb: 'cgroups.create', atMs: 10 },
    { host: 'a', verb: 'cgroups.remove', atMs: 10 },
  ]);
});
