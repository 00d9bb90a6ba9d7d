import { describe, expect, test } from 'vitest';
import { createSimulation, type SimulationOptions } from '../../../backends/sim/simulation.ts';
import type { Desired, DesiredContainer } from '../../../src/engine/desired.ts';
import { Engine } from '../../../src/engine/engine.ts';
import { EngineError } from '../../../src/engine/errors.ts';
import type { Observation } from '../../../src/engine/observation.ts';
import { type Bytes, GIB, MIB, type Milliseconds } from '../../../src/host/units.ts';
import type { Workload } from '../../../src/host/workload.ts';
import { policyByName } from '../../../src/memory/policies.ts';
import type { MemoryPolicy } from '../../../src/memory/policy.ts';
import { supervisorFactory } from '../../../src/memory/supervisor.ts';

const mib = (value: number): Bytes => (value * MIB) as Bytes;
const container = (name: string, request: number, workload: Workload): DesiredContainer => ({
  name,
  requestBytes: mib(request),
  priority: 0,
  workload,
});
const constant = (value: number, more: Partial<Workload> = {}): Workload => ({
  memory: { kind: 'constant', bytes: mib(value) },
  ...more,
});
const asked = (hard: number, ...containers: DesiredContainer[]): Desired => ({
  memory: {
    policy: { name: 'gaia' },
    line: {
      hardLimitBytes: mib(hard),
      killAtBytes: mib(hard * 1.05),
      stopAtBytes: mib(hard),
      ceilingBytes: mib(hard * 1.3),
      lookEveryMs: 100 as Milliseconds,
    },
    dry: false,
  },
  containers,
});

/** A machine with an engine on it, what they told, and a way to let time pass. */
function machine(options: Partial<SimulationOptions> & { cgroupVersion?: 1 | 2; policy?: MemoryPolicy } = {}) {
  const policies = () => options.policy ?? policyByName('gaia')!;
  const simulation = createSimulation({
    seed: 1,
    hosts: [{ name: 'host', ramBytes: (4 * GIB) as Bytes, cpus: 2, cgroupVersion: options.cgroupVersion ?? 1 }],
    supervisor: supervisorFactory(policies),
    ...options,
  });
  const observations: Observation[] = [];
  const engine = new Engine(simulation.connect('host'), {
    policies,
    sink: (observation) => observations.push(observation),
    zeroMs: 0,
  });
  const host = simulation.host('host');
  return {
    engine,
    host,
    observations,
    ask: (desired: Desired | null) => simulation.run(() => engine.ask(desired)),
    tick: () => simulation.run(() => engine.tick()),
    pass: (ms: number) => simulation.run(() => host.clock.sleep(ms)),
    watch: (ms: number) =>
      simulation.run(async () => {
        const end = new AbortController();
        void host.clock.sleep(ms).then(() => end.abort());
        await engine.watch(end.signal);
      }),
    limit: async () => (await host.cgroups.list()).find(({ path }) => path === 'containers')?.limitBytes,
    kills: () =>
      observations.flatMap((each) => (each.kind === 'decision' ? [`${each.container} at ${each.atMs}`] : [])),
    deaths: () => observations.flatMap((each) => (each.kind === 'death' ? [`${each.container}: ${each.cause}`] : [])),
  };
}

describe.each([1, 2] as const)('a hard limit lowered below what is in use, on cgroup v%d', (cgroupVersion) => {
  test('the one over its request pays, not the largest; then the ceiling follows', async () => {
    const { ask, watch, deaths, limit, observations } = machine({ cgroupVersion });
    const containers = [container('honest', 150, constant(120)), container('greedy', 20, constant(100))];
    await ask(asked(300, ...containers));
    await watch(1000);
    await ask(asked(150, ...containers));
    await watch(4000);
    expect(deaths()).toEqual(['greedy: supervisor']);
    expect(await limit()).toBe(mib(195));
    expect(observations.filter((each) => each.kind === 'step' && each.error !== undefined)).toHaveLength(1);
  });

  test('with nobody over, the limit waits, is refused once in words, and stops nothing else', async () => {
    const { ask, watch, deaths, limit, observations, host } = machine({ cgroupVersion });
    await ask(asked(300, container('honest', 150, constant(120)), container('fair', 150, constant(110))));
    await watch(1000);
    await ask(
      asked(
        100,
        container('honest', 150, constant(120)),
        container('fair', 150, constant(110)),
        container('late', 20, constant(1)),
      ),
    );
    await watch(5000);
    expect(deaths()).toEqual([]);
    expect(await limit()).toBe(mib(390));
    expect(observations.filter((each) => each.kind === 'step' && each.error !== undefined)).toHaveLength(1);
    expect((await host.containers.list()).map(({ name, phase }) => `${name} ${phase}`)).toContain('late running');
  });
});

describe('a victim', () => {
  test('keeps its second of grace though something else is asked within it', async () => {
    const { ask, watch, kills } = machine();
    const scratch = container('scratch', 10, constant(80, { shared: true }));
    const other = container('other', 10, constant(40));
    const third = container('third', 20, constant(5));
    await ask(asked(100, scratch, other, third));
    await watch(1000);
    await ask(asked(100, scratch, other, { ...third, requestBytes: mib(25) }));
    await watch(3000);
    const [first, second] = kills().map((kill) => Number(kill.split(' ')[2]));
    expect(kills().map((kill) => kill.split(' ')[0])).toEqual(['scratch', 'other']);
    expect(second! - first!).toBeGreaterThanOrEqual(1000);
  });

  test('that is no longer asked for before anybody noticed its death was killed all the same', async () => {
    const { ask, pass, deaths } = machine();
    await ask(asked(90, container('greedy', 10, constant(100)), container('calm', 20, constant(5))));
    // Just long enough to be signalled: it is still dying.
    await pass(102);
    await ask(asked(90, container('calm', 20, constant(5))));
    expect(deaths()).toEqual(['greedy: supervisor']);
  });

  test('asked for again begins a new life in a cgroup of its own', async () => {
    const { ask, watch, deaths, host } = machine();
    const calm = container('calm', 20, constant(5));
    await ask(asked(90, calm, container('again', 10, constant(100))));
    await watch(1100);
    expect(deaths()).toEqual(['again: supervisor']);
    await ask(asked(90, calm));
    await ask(asked(90, calm, container('again', 10, constant(5, { endsAfterMs: 500 as Milliseconds }))));
    expect((await host.containers.list()).map(({ name, phase }) => `${name} ${phase}`)).toEqual([
      'again running',
      'calm running',
    ]);
    await watch(2000);
    expect(deaths()).toEqual(['again: supervisor', 'again: exit']);
  });
});

describe('what goes wrong', () => {
  test('a supervisor that died is missed at the next tick', async () => {
    const { ask, watch, host } = machine({ faults: [{ on: 'supervisor.look', nth: 5, do: { crash: 'before' } }] });
    await ask(asked(100, container('calm', 20, constant(5))));
    await watch(450);
    expect(await host.supervision.list()).toEqual([]);
    await watch(1000);
    expect(await host.supervision.list()).toHaveLength(1);
  });

  test('a refused step names itself and its reason, and the tick after it mends it', async () => {
    const { ask, tick, host } = machine({ faults: [{ on: 'containers.start', do: { fail: 'EIO' } }] });
    const refused = ask(asked(100, container('calm', 20, constant(5))));
    await expect(refused).rejects.toThrow(EngineError);
    await expect(refused).rejects.toThrow(/containers\.start calm: .*EIO.*asked for/);
    await tick();
    expect((await host.containers.list()).map(({ phase }) => phase)).toEqual(['running']);
  });

  test('a policy that gives no limits is told by name, and nothing is begun', async () => {
    const policy = {
      ...policyByName('gaia')!,
      name: 'mine',
      limits: () => ({ parentBytes: Number.NaN, childBytes: [] }),
    };
    const { ask, host } = machine({ policy });
    await expect(ask(asked(100, container('calm', 20, constant(5))))).rejects.toThrow(
      /policy mine: limits gives NaN as parentBytes/,
    );
    expect(await host.cgroups.list()).toEqual([]);
  });

  test('a host that ten containers leave while it is looked at settles all the same', async () => {
    const many = Array.from({ length: 10 }, (_, index) =>
      container(`c${index}`, 20, constant(1, { endsAfterMs: (1000 + index * 1000) as Milliseconds })),
    );
    const { ask, watch, host } = machine({ faults: [{ on: 'cgroups.list', times: 1000, do: { delayMs: 1200 } }] });
    await ask(asked(300, ...many));
    await watch(30_000);
    expect((await host.cgroups.list()).map(({ path }) => path)).toEqual(['containers']);
  });
});
