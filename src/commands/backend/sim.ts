import { createSimulation } from '../../../backends/sim/simulation.ts';
import { Engine } from '../../engine/engine.ts';
import { brokenAlways } from '../../engine/invariants.ts';
import { observe } from '../../engine/planning.ts';
import { supervisorFactory } from '../../memory/supervisor.ts';
import type { Scenario } from '../../scenario/scenario.ts';
import type { FindPolicy, OpenBackend } from './backend.ts';

/** The version a simulated machine has where the scenario does not care: what today's distributions bring. */
const CGROUP_VERSION = 2;

/** Simulates the machines of a scenario. Invariants are checked after every batch that an engine sends. */
export function openSim(scenario: Scenario, policies: FindPolicy): OpenBackend {
  const simulation = createSimulation({
    seed: scenario.seed,
    hosts: scenario.hosts.map(({ name, ramBytes, cpus, cgroupVersion = CGROUP_VERSION, uplink }) => ({
      name,
      ramBytes,
      cpus,
      cgroupVersion,
      ...(uplink !== undefined && { uplink }),
    })),
    supervisor: supervisorFactory(({ policy }) => policies(policy)),
    faults: scenario.faults,
  });
  return {
    backend: {
      name: 'sim',
      clock: simulation.host(scenario.hosts[0]!.name).clock,
      connect: async (name) => simulation.connect(name),
      crash: async (name) => simulation.crash(name),
      bystander: (name) => simulation.host(name),
      drive: (work) => simulation.run(work),
    },
    engineFor: (host, { sink, zeroMs }) =>
      new Engine(host, {
        policies,
        sink,
        zeroMs,
        afterBatch: async () => {
          for (const { about, message } of brokenAlways(await observe(simulation.host(host.name)), policies))
            sink({
              kind: 'note',
              atMs: simulation.nowMs() - zeroMs,
              about: 'invariant',
              message: `${about}: ${message}`,
            });
        },
      }),
    close: async () => undefined,
  };
}
