import type { PacketCosts } from '../../../backends/sim/packet-costs.ts';
import { createSimulation, type Simulation } from '../../../backends/sim/simulation.ts';
import { Engine } from '../../engine/engine.ts';
import { brokenAlways } from '../../engine/invariants.ts';
import { observe } from '../../engine/planning.ts';
import { supervisorFactory } from '../../memory/supervisor.ts';
import type { Bystander } from '../../scenario/run.ts';
import type { Scenario } from '../../scenario/scenario.ts';
import type { FindPolicy, OpenBackend } from './backend.ts';
import { insightInto } from './bystander.ts';

/** The version a simulated machine has where the scenario does not care: what today's distributions bring. */
const CGROUP_VERSION = 2;

/** That of the cards which are emulated, too. */
const NIC_DRIVER = 'igb';

/** Simulates the machines of a scenario; `costs` are of packets, as shipped unless set. Invariants are checked after every batch that an engine sends. */
export function openSim(scenario: Scenario, policies: FindPolicy, costs?: PacketCosts): OpenBackend {
  const simulation = createSimulation({
    seed: scenario.seed,
    hosts: scenario.hosts.map(({ name, ramBytes, cpus, cgroupVersion = CGROUP_VERSION, uplink, nics }) => ({
      name,
      ramBytes,
      cpus,
      cgroupVersion,
      ...(uplink === undefined ? nics.length > 0 && { uplink: null } : { uplink }),
      nics: nics.map(({ driver = NIC_DRIVER, ...nic }) => ({ ...nic, driver })),
    })),
    supervisor: supervisorFactory(({ policy }) => policies(policy)),
    faults: scenario.faults,
    ...(costs && { costs }),
  });
  return {
    backend: {
      name: 'sim',
      clock: simulation.host(scenario.hosts[0]!.name).clock,
      connect: async (name) => simulation.connect(name),
      crash: async (name) => simulation.crash(name),
      bystander: (name) => bystanderOf(simulation, name),
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

function bystanderOf(simulation: Simulation, name: string): Bystander {
  const host = simulation.host(name);
  return {
    ...host,
    ...insightInto(name, host, () => host.store),
    async befall(mishap) {
      const mishaps = simulation.mishaps(name);
      switch (mishap.kind) {
        case 'qdisc':
          return simulation.layForeignQdisc(name, mishap.link, mishap.root);
        case 'flap':
          return mishaps.cut(mishap.pf, mishap.forMs);
        case 'hold': {
          const letGo = mishaps.hold(mishap.namespace);
          void host.clock.sleep(mishap.forMs).then(letGo);
          return;
        }
        case 'hide':
          return mishaps.hide(mishap.vf);
      }
    },
  };
}
