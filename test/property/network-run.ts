import type { Fault } from '../../backends/sim/faults.ts';
import { createSimulation, type Simulation } from '../../backends/sim/simulation.ts';
import { Engine, type EngineOptions } from '../../src/engine/engine.ts';
import { bytes, GIB } from '../../src/host/units.ts';
import type { Verb } from '../../src/host/steps.ts';
import { supervisorFactory } from '../../src/memory/supervisor.ts';
import { type NetworkCase, OUTSIDE, uplinkAddress } from './network-cases.ts';
import { askAll, type Asked, desiredOn, type HostOf, OUTSIDE_HOST, questionsOf, worldOf } from './network-matrix.ts';
import type { World } from './network-oracle.ts';

const noPolicy = (): never => {
  throw new Error('no memory is asked for');
};

export interface NetworkSimulationOptions {
  readonly faults?: readonly Fault[];
  readonly crashPoint?: number;
  readonly afterStep?: (step: { readonly host: string; readonly verb: Verb; readonly atMs: number }) => void;
}

/** The hosts of a case and the machine outside, joined; where the case has a router, it is that one. */
export async function simulate(given: NetworkCase, options: NetworkSimulationOptions = {}): Promise<Simulation> {
  const machine = { ramBytes: bytes(4 * GIB), cpus: 2, cgroupVersion: 2 as const };
  const simulation = createSimulation({
    seed: given.seed,
    hosts: [
      ...given.hosts.map(({ name, foreignForward, bridgeNfCallIptables }, index) => ({
        ...machine,
        name,
        foreignForward,
        bridgeNfCallIptables,
        uplink: { prefix: `${uplinkAddress(index)}/24` },
      })),
      { ...machine, name: OUTSIDE_HOST, uplink: { prefix: `${OUTSIDE}/24` } },
    ],
    supervisor: supervisorFactory(noPolicy),
    ...options,
  });
  await simulation.run(async () => {
    for (const { name } of given.hosts)
      if (given.routed)
        await simulation
          .host(name)
          .routing.add([{ kind: 'route', namespace: '', link: 'eth0', to: '0.0.0.0/0', via: OUTSIDE }]);
    await makeOutside(given, (name) => simulation.host(name));
  });
  return simulation;
}

/** Whoever is outside knows the way to every segment: by a host that has it. */
export async function makeOutside(given: NetworkCase, hostOf: HostOf): Promise<void> {
  const { links, routing } = hostOf(OUTSIDE_HOST);
  await links.set([{ namespace: '', name: 'eth0', set: { forwarding: true } }]);
  const routes = new Map<string, string>();
  for (const { host, attachments } of given.containers)
    for (const { network } of attachments) {
      const spec = given.networks.find(({ name }) => name === network)!;
      if (spec.kind !== 'intranet' && !spec.pool.startsWith('192.168.77.'))
        routes.set(spec.pool, uplinkAddress(given.hosts.findIndex(({ name }) => name === host)));
    }
  await routing.add([...routes].map(([to, via]) => ({ kind: 'route', namespace: '', link: 'eth0', to, via })));
}

export const engineOn = (simulation: Simulation, name: string, options: Partial<EngineOptions> = {}): Engine =>
  new Engine(simulation.connect(name), { policies: noPolicy, sink: () => undefined, zeroMs: 0, ...options });

/** Everybody is asked, and then told of the others; then the whole matrix. */
export async function runReach(given: NetworkCase): Promise<{ readonly world: World; readonly asked: Asked[] }> {
  const simulation = await simulate(given);
  return simulation.run(async () => {
    const engines = given.hosts.map(({ name }) => [name, engineOn(simulation, name)] as const);
    for (const [name, engine] of engines) await engine.ask(desiredOn(given, name));
    for (const [, engine] of engines) await engine.recover();
    const hostOf = (name: string) => simulation.host(name);
    const world = await worldOf(given, hostOf);
    const tunnels = world.hosts.map(({ name }) => name);
    return { world, asked: await askAll(world, hostOf, questionsOf(world), given.payloadBytes, tunnels) };
  });
}
