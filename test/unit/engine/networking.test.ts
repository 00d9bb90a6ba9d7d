import { describe, expect, test } from 'vitest';
import type { Fault } from '../../../backends/sim/faults.ts';
import { createSimulation, type Simulation } from '../../../backends/sim/simulation.ts';
import { Engine } from '../../../src/engine/engine.ts';
import type { Observation } from '../../../src/engine/observation.ts';
import { readShared } from '../../../src/engine/sharing.ts';
import { bytes, GIB } from '../../../src/host/units.ts';
import type { NetworkSpec } from '../../../src/network/desired.ts';
import { supervisorFactory } from '../../../src/memory/supervisor.ts';
import { bridge, overlay } from '../network/specs.ts';

const noPolicies = (): never => {
  throw new Error('no memory is asked for');
};

function simulate(names: readonly string[], faults: readonly Fault[] = []): Simulation {
  return createSimulation({
    seed: 1,
    hosts: names.map((name) => ({ name, ramBytes: bytes(8 * GIB), cpus: 2, cgroupVersion: 2 as const })),
    supervisor: supervisorFactory(noPolicies),
    faults,
  });
}

const engineOn = (simulation: Simulation, name: string, told: Observation[] = []): Engine =>
  new Engine(simulation.connect(name), { policies: noPolicies, sink: (each) => told.push(each), zeroMs: 0 });

const ask = (engine: Engine, networks: readonly NetworkSpec[] | undefined, names: readonly string[], uplink?: string) =>
  engine.ask({
    memory: null,
    ...(networks && { network: { networks, ...(uplink !== undefined && { uplink }) } }),
    containers: [],
    endpoints: names.map((name) => ({ name, attachments: [{ network: 'blue', publish: [] }] })),
  });

const blue = overlay('blue', '10.0.0.0/16');

/** Lets the engine of this host watch for so long. */
async function watchFor(simulation: Simulation, engine: Engine, host: string, ms: number): Promise<void> {
  const end = new AbortController();
  void simulation
    .host(host)
    .clock.sleep(ms)
    .then(() => end.abort());
  await engine.watch(end.signal);
}

describe('an engine with networks', () => {
  test('leaves leases and links alone while its uplink, which was named, has no address', async () => {
    const simulation = simulate(['h1']);
    await simulation.run(async () => {
      const host = simulation.host('h1');
      const engine = engineOn(simulation, 'h1');
      await ask(engine, [blue], ['a'], 'eth0');
      const before = await readShared(host.store);
      const uplink = { kind: 'address', namespace: '', link: 'eth0', prefix: '192.168.77.11/24' } as const;
      await host.routing.remove([uplink]);
      await watchFor(simulation, engine, 'h1', 30_000);
      expect((await readShared(host.store)).leases).toEqual(before.leases);
      expect(await host.namespaces.list()).toEqual(['a']);
      await host.routing.add([uplink]);
      await watchFor(simulation, engine, 'h1', 12_000);
      expect((await readShared(host.store)).leases).toEqual(before.leases);
    });
  });

  test('refuses to lose a network that somebody is attached to, and changes nothing', async () => {
    const simulation = simulate(['h1']);
    await simulation.run(async () => {
      const { store, namespaces } = simulation.host('h1');
      const engine = engineOn(simulation, 'h1');
      await ask(engine, [blue], ['a']);
      const before = await store.read('');
      await expect(ask(engine, undefined, ['a'])).rejects.toThrow(
        /a: it is attached to network blue, which is not there/,
      );
      expect(await store.read('')).toEqual(before);
      expect(await namespaces.list()).toEqual(['a']);
    });
  });

  test('refuses the container for which a bridge has no port before anything is written', async () => {
    const simulation = simulate(['h1']);
    await simulation.run(async () => {
      const names = Array.from({ length: 1023 }, (_, index) => `c${index}`);
      await expect(ask(engineOn(simulation, 'h1'), [blue], names)).rejects.toThrow(
        'c1022: network blue has 1022 containers on this host, which is all a bridge holds',
      );
      expect(await simulation.host('h1').store.read('')).toEqual([]);
    });
  });

  test('serves the others where the network of one container cannot be made', async () => {
    const simulation = simulate(['h1'], [{ on: 'routing.add', atMs: 0, times: 1, do: { fail: 'ENOSPC' } }]);
    await simulation.run(async () => {
      const { routing } = simulation.host('h1');
      const web = { ...bridge('blue', '10.1.0.0/24'), nat: false };
      await expect(ask(engineOn(simulation, 'h1'), [web], ['a', 'b'])).rejects.toThrow(
        /routing.add a: address .*ENOSPC/,
      );
      const attached = (await routing.list(['a', 'b'])).filter(({ kind }) => kind === 'address');
      expect(attached.map(({ namespace }) => namespace)).toEqual(['b']);
    });
  });

  test('does not lose its leases while steps take long', async () => {
    const slow = { on: 'links.*', times: 100, do: { delayMs: 5500 } };
    const simulation = simulate(['h1', 'h2'], [{ host: 'h1', ...slow }]);
    await simulation.run(async () => {
      const asking = ask(engineOn(simulation, 'h1'), [blue], ['a']);
      await simulation.host('h2').clock.sleep(24_000);
      await ask(engineOn(simulation, 'h2'), [blue], ['b']);
      const { leases } = await readShared(simulation.host('h1').store);
      await asking;
      expect([...leases.values()].map(({ value }) => `${value.host} ${value.address}`)).toEqual([
        'h1 10.0.0.1',
        'h2 10.0.0.2',
      ]);
    });
  });

  test('ticks, and so keeps its leases, however much others change', async () => {
    const simulation = simulate(['h1'], [{ on: 'store.read', times: 100_000, do: { delayMs: 50 } }]);
    await simulation.run(async () => {
      const { store, clock } = simulation.host('h1');
      const told: Observation[] = [];
      const engine = engineOn(simulation, 'h1', told);
      await ask(engine, [blue], ['a']);
      const end = new AbortController();
      const disturb = async (): Promise<void> => {
        while (!end.signal.aborted) {
          await store.commit({ put: [{ key: 'leases/other/10.9.0.1', value: JSON.stringify({ host: 'h9' }) }] });
          await clock.sleep(40);
        }
      };
      const others = disturb();
      await watchFor(simulation, engine, 'h1', 20_000);
      end.abort();
      await others;
      // Lost and taken anew it would be told twice.
      expect(told.filter(({ kind }) => kind === 'address')).toHaveLength(1);
    });
  });

  test('tries again to watch what others change where the store did not answer at first', async () => {
    const simulation = simulate(['h1', 'h2'], [{ host: 'h1', on: 'store.watch', times: 1, do: { fail: 'EIO' } }]);
    await simulation.run(async () => {
      const { clock, routing } = simulation.host('h1');
      const engine = engineOn(simulation, 'h1');
      await ask(engine, [blue], ['a']);
      const watching = watchFor(simulation, engine, 'h1', 4000);
      await clock.sleep(2500);
      await ask(engineOn(simulation, 'h2'), [blue], ['b']);
      await clock.sleep(100);
      expect((await routing.list([''])).filter(({ kind }) => kind === 'fdb')).toHaveLength(2);
      await watching;
    });
  });
});
