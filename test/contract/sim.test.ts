import { describe, it } from 'vitest';
import { createSimulation } from '../../backends/sim/simulation.ts';
import type { CgroupReader } from '../../src/host/cgroups.ts';
import { bytes, GIB } from '../../src/host/units.ts';
import { policyByName } from '../../src/memory/policies.ts';
import { supervisorFactory } from '../../src/memory/supervisor.ts';
import { cgroupsContract } from './cgroups.ts';
import { clockContract } from './clock.ts';
import { containersContract } from './containers.ts';
import type { ContractCase, ContractFixture } from './contract.ts';
import { machineContract } from './machine.ts';
import { supervisionContract } from './supervision.ts';

const CONTRACTS: Readonly<Record<string, readonly ContractCase[]>> = {
  clock: clockContract,
  machine: machineContract,
  cgroups: cgroupsContract,
  containers: containersContract,
  supervision: supervisionContract,
};

const supervisor = supervisorFactory(({ policy: { name } }) => {
  const policy = policyByName(name);
  if (policy === undefined) throw new Error(`there is no policy ${name}`);
  return policy;
});

/** What virtual time a body may take before it is said never to get there. */
const PATIENCE_MS = 60_000;

/** A body gets the host as an engine would, and reads back through the raw host, past the chain. */
function simulatedFixture(cgroupVersion: 1 | 2): ContractFixture {
  const machine = { name: 'sim', ramBytes: bytes(8 * GIB), cpus: 4, cgroupVersion };
  const simulation = createSimulation({ seed: 1, hosts: [machine], supervisor });
  const raw = simulation.host('sim');
  const stateOf = async (path: string) => (await raw.cgroups.list()).find((state) => state.path === path);
  const reading = <T>(path: string, read: (reader: CgroupReader) => T): T => {
    const reader = raw.cgroups.open(path);
    try {
      return read(reader);
    } finally {
      reader.close();
    }
  };
  return {
    host: simulation.connect('sim'),
    backend: 'sim',
    cgroupVersion,
    settle: (work) => simulation.run(work),
    async waitUntil(predicate, what) {
      await simulation.run(async () => {
        const untilMs = simulation.nowMs() + PATIENCE_MS;
        while (!(await predicate())) {
          if (simulation.nowMs() > untilMs) throw new Error(`waited ${PATIENCE_MS} ms of virtual time for ${what}`);
          await raw.clock.sleep(10);
        }
      });
    },
    readBack: {
      cgroupPaths: async () => (await raw.cgroups.list()).map(({ path }) => path),
      limitBytes: async (path) => (await stateOf(path))?.limitBytes ?? null,
      usageBytes: async (path) => reading(path, (reader) => reader.usageBytes()),
      processes: async (path) => simulation.processes('sim', path),
      ramBytes: async () => machine.ramBytes,
      cpus: async () => machine.cpus,
    },
  };
}

describe.each([1, 2] as const)('the simulated host with cgroup v%i', (version) => {
  describe.each(Object.entries(CONTRACTS))('%s', (_capability, cases) => {
    it.each(cases.map((one) => [one.name, one] as const))('%s', (_name, one) => one.run(simulatedFixture(version)));
  });
});
