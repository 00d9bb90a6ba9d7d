import type { Machine, MachineFacts } from '../../src/host/machine.ts';
import type { Bytes } from '../../src/host/units.ts';

/** A machine to simulate. */
export interface SimulatedMachine {
  readonly name: string;
  readonly ramBytes: Bytes;
  readonly cpus: number;
  readonly cgroupVersion: 1 | 2;
  readonly kernel?: string;
}

/** What the simulated machine says of itself. */
export const createMachine = ({ name, ramBytes, cpus, cgroupVersion, kernel }: SimulatedMachine): Machine => {
  const facts: MachineFacts = {
    hostname: name,
    kernel: kernel ?? '6.18.0-simulated',
    ramBytes,
    cpus,
    cgroupVersion,
    abilities: [{ name: 'cgroup memory controller', present: true, detail: `cgroup v${cgroupVersion}, modelled` }],
  };
  return { describe: async () => facts };
};
