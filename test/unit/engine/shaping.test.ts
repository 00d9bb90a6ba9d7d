import { describe, expect, test } from 'vitest';
import { createSimulation, type Simulation } from '../../../backends/sim/simulation.ts';
import type { EgressDesired, EgressRequest } from '../../../src/egress/desired.ts';
import type { DesiredEndpoint } from '../../../src/engine/desired.ts';
import { Engine } from '../../../src/engine/engine.ts';
import type { Observation } from '../../../src/engine/observation.ts';
import { minorOf, type ShaperObject } from '../../../src/host/shaper.ts';
import { bytes, GIB } from '../../../src/host/units.ts';
import { supervisorFactory } from '../../../src/memory/supervisor.ts';
import { intranet, overlay } from '../network/specs.ts';

const noPolicies = (): never => {
  throw new Error('no memory is asked for');
};
const simulate = (fairQueues = true): Simulation =>
  createSimulation({
    seed: 1,
    hosts: [{ name: 'h1', ramBytes: bytes(8 * GIB), cpus: 2, cgroupVersion: 2, fairQueues }],
    supervisor: supervisorFactory(noPolicies),
  });
const engineOn = (simulation: Simulation, told: Observation[] = []): Engine =>
  new Engine(simulation.connect('h1'), { policies: noPolicies, sink: (each) => told.push(each), zeroMs: 0 });

const NETWORKS = [
  overlay('blue', '10.0.0.0/24'),
  intranet('office', '192.168.77.128/26'),
  intranet('wire', '192.168.77.192/26', { by: 'macvlan' }),
];
const WHOLE: EgressDesired = { uplinkBitsPerSec: 1e9 };
const container = (name: string, egress?: EgressRequest, networks = ['blue']): DesiredEndpoint => ({
  name,
  attachments: networks.map((network) => ({ network, publish: [] })),
  ...(egress && { egress }),
});
const ask = (engine: Engine, endpoints: readonly DesiredEndpoint[], egress: EgressDesired = WHOLE): Promise<void> =>
  engine.ask({ memory: null, network: { uplink: 'eth0', networks: NETWORKS }, egress, endpoints, containers: [] });

const ETH0 = { namespace: '', name: 'eth0' };
const objectsOf = async (simulation: Simulation, ...namespaces: readonly string[]): Promise<readonly ShaperObject[]> =>
  (await simulation.host('h1').shaper.list([ETH0, ...namespaces.map((namespace) => ({ namespace, name: 'eth0' }))]))
    .objects;
const ceilingsOf = (objects: readonly ShaperObject[]): Record<number, number> =>
  Object.fromEntries(
    objects.flatMap((object) =>
      object.kind === 'class' && object.minor > 2 ? [[object.minor, object.ceilBitsPerSec / 1e6]] : [],
    ),
  );
const marksOf = async (simulation: Simulation): Promise<(number | null)[]> =>
  (await simulation.host('h1').firewall.read()).elements.flatMap(({ set, value }) =>
    set === 'marks' ? [minorOf(value!)] : [],
  );
const mbit = (ceiling: number): EgressRequest => ({ ceilingBitsPerSec: ceiling * 1e6 });

describe('an engine that shapes', () => {
  test('lays a class and a mark with a container, changes it in place, and takes all away with the last', async () => {
    const simulation = simulate();
    await simulation.run(async () => {
      const engine = engineOn(simulation);
      await ask(engine, [container('a', mbit(5)), container('b', mbit(7), ['blue', 'office']), container('c')]);
      expect(ceilingsOf(await objectsOf(simulation))).toEqual({ 3: 5, 4: 7 });
      expect((await marksOf(simulation)).map(Number).toSorted((a, b) => a - b)).toEqual([3, 4, 4]);
      await ask(engine, [container('a', mbit(6)), container('b'), container('c', mbit(1))]);
      // Who comes does not get the class of who goes in the same breath.
      expect(ceilingsOf(await objectsOf(simulation))).toEqual({ 3: 6, 5: 1 });
      await ask(engine, [container('a')]);
      expect(await objectsOf(simulation)).toEqual([]);
      expect(await marksOf(simulation)).toEqual([]);
    });
  });

  test('finds what somebody changed by hand', async () => {
    const simulation = simulate();
    await simulation.run(async () => {
      const { shaper, firewall } = simulation.host('h1');
      const engine = engineOn(simulation);
      await ask(engine, [container('a', mbit(5)), container('b', mbit(7))]);
      const before = await objectsOf(simulation);
      const marks = await marksOf(simulation);
      const [one, two] = before.filter((object) => object.kind === 'class' && object.minor > 2);
      await shaper.remove([one!]);
      await shaper.add([{ ...two!, ceilBitsPerSec: 9e9 } as ShaperObject]);
      const { elements } = await firewall.read();
      await firewall.apply([{ add: [], remove: elements.filter(({ set }) => set === 'marks').slice(0, 1) }]);
      await engine.recover();
      // Whose mark is gone gets another class: his old one may be another's by now, for all that is seen.
      expect(Object.values(ceilingsOf(await objectsOf(simulation)))).toEqual([5, 7]);
      expect(await marksOf(simulation)).toHaveLength(marks.length);
      const mended = await objectsOf(simulation);
      await shaper.remove([{ ...ETH0, kind: 'qdisc', defaultMinor: 2 }]);
      await engine.recover();
      expect(await objectsOf(simulation)).toEqual(mended);
    });
  });

  test('refuses before anything is written, where somebody else has a qdisc on the uplink; later it leaves his alone', async () => {
    const simulation = simulate();
    await simulation.run(async () => {
      const { store } = simulation.host('h1');
      const engine = engineOn(simulation);
      simulation.layForeignQdisc('h1', ETH0, { type: 'tbf', handle: '1:' });
      await expect(ask(engine, [container('a', mbit(5))])).rejects.toThrow(
        /^uplink eth0: it has a qdisc of somebody else, tbf 1:, which is left alone/,
      );
      expect(await store.read('')).toEqual([]);
      simulation.layForeignQdisc('h1', ETH0, null);
      await ask(engine, [container('a', mbit(5))]);
      simulation.layForeignQdisc('h1', ETH0, { type: 'tbf', handle: '1:' });
      await engine.recover();
      expect(await simulation.host('h1').shaper.list([ETH0])).toMatchObject({
        objects: [],
        foreign: [{ type: 'tbf' }],
      });
    });
  });

  test('shapes within the namespace what passes the host by, and what shall be held everywhere', async () => {
    const simulation = simulate(false);
    await simulation.run(async () => {
      const engine = engineOn(simulation);
      const everywhere = { ...mbit(3), everywhere: true };
      await ask(engine, [container('m', mbit(2), ['wire']), container('e', everywhere)]);
      const all = await objectsOf(simulation, 'm', 'e');
      const within = all.filter(({ kind, namespace }) => kind === 'class' && namespace !== '');
      expect(within).toMatchObject([
        { namespace: 'e', minor: 1, ceilBitsPerSec: 3e6, fairQueue: false },
        { namespace: 'm', minor: 1, ceilBitsPerSec: 2e6, fairQueue: false },
      ]);
      // All it sends by the host is held together, too; what passes by the host is not marked.
      expect(ceilingsOf(all.filter(({ namespace }) => namespace === ''))).toEqual({ 3: 3 });
      expect(await marksOf(simulation)).toEqual([3]);
      await ask(engine, [container('m', mbit(2), ['wire']), container('e')]);
      expect((await objectsOf(simulation, 'm', 'e')).map(({ namespace }) => namespace)).toEqual(['m', 'm']);
    });
  });

  test('says which guarantees cannot be kept, and writes nothing', async () => {
    const simulation = simulate();
    await simulation.run(async () => {
      const engine = engineOn(simulation);
      const asking = ask(engine, [
        container('a', { guaranteeBitsPerSec: 6e8 }),
        container('b', { guaranteeBitsPerSec: 6e8 }),
      ]);
      await expect(asking).rejects.toThrow(/guarantees add up to 1200 Mbit\/s, and it carries 1000 Mbit\/s/);
      expect(await simulation.host('h1').store.read('')).toEqual([]);
    });
  });

  test('tells of guarantees beyond the uplink where they may be, and keeps them', async () => {
    const simulation = simulate();
    await simulation.run(async () => {
      const told: Observation[] = [];
      const two = [container('a', { guaranteeBitsPerSec: 6e8 }), container('b', { guaranteeBitsPerSec: 6e8 })];
      await ask(engineOn(simulation, told), two, { ...WHOLE, overcommit: 'warn' });
      expect(told.flatMap((each) => (each.kind === 'note' ? [each.message] : []))).toEqual([
        'uplink eth0: guarantees add up to 1200 Mbit/s, and it carries 1000 Mbit/s: lower some',
      ]);
      expect(await marksOf(simulation)).toHaveLength(2);
    });
  });
});
