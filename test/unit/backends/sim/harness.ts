import { createSimulation, type Simulation, type SimulationOptions } from '../../../../backends/sim/simulation.ts';
import type { MemoryStat } from '../../../../src/host/cgroups.ts';
import type { Host } from '../../../../src/host/host.ts';
import type { SupervisorFactory, SupervisorSettings } from '../../../../src/host/supervision.ts';
import { bytes, GIB, MIB, milliseconds } from '../../../../src/host/units.ts';
import type { Workload } from '../../../../src/host/workload.ts';

export const mib = (count: number) => bytes(Math.round(count * MIB));
export const ms = milliseconds;
export const constant = (count: number): Workload => ({ memory: { kind: 'constant', bytes: mib(count) } });

/** Grows from 0 by so many MiB a second. */
export const growing = (mibPerSecond: number): Workload => ({
  memory: { kind: 'leak', from: bytes(0), bytesPerSecond: mib(mibPerSecond) },
});

/** A supervisor that only asks for its next look. */
const idle: SupervisorFactory = (_cgroups, settings) => ({
  look: (nowMs) => nowMs + settings.line.lookEveryMs,
  configure: () => undefined,
  close: () => undefined,
});

export const settingsFor = (parent: string, lookEveryMs = 100): SupervisorSettings => ({
  parent,
  policy: { name: 'gaia' },
  line: {
    hardLimitBytes: mib(100),
    killAtBytes: mib(105),
    stopAtBytes: mib(100),
    ceilingBytes: mib(110),
    lookEveryMs: ms(lookEveryMs),
  },
  dry: false,
  containers: [],
});

/** A simulation of one machine, `a`, of 8 GiB and 4 CPUs. */
export const simulate = (options: Partial<SimulationOptions> & { cgroupVersion?: 1 | 2; ramBytes?: number } = {}) => {
  const { cgroupVersion = 2, ramBytes = 8 * GIB, ...rest } = options;
  return createSimulation({
    seed: 1,
    hosts: [{ name: 'a', ramBytes: bytes(ramBytes), cpus: 4, cgroupVersion }],
    supervisor: idle,
    ...rest,
  });
};

/** Makes `pen` and a cgroup in it for each container, and starts them all. */
export async function startInPen(
  simulation: Simulation,
  workloads: Readonly<Record<string, Workload>>,
  limitsMib: Readonly<Record<string, number>> = {},
): Promise<Host> {
  const host = simulation.host('a');
  const paths = ['pen', ...Object.keys(workloads).map((name) => `pen/${name}`)];
  await simulation.run(async () => {
    await host.cgroups.create(paths.map((path) => ({ path })));
    await host.cgroups.limit(Object.entries(limitsMib).map(([path, limit]) => ({ path, limitBytes: mib(limit) })));
    await host.containers.start(
      Object.entries(workloads).map(([name, workload]) => ({ name, cgroup: `pen/${name}`, workload })),
    );
  });
  return host;
}

/** Lets so much time pass. */
export const pass = (simulation: Simulation, delayMs: number): Promise<void> =>
  simulation.run(() => simulation.host('a').clock.sleep(delayMs));

export const usage = (host: Host, path: string): number => host.cgroups.open(path).usageBytes();

export const stat = (host: Host, path: string): MemoryStat =>
  host.cgroups.open(path).readStat({ anonBytes: 0, fileBytes: 0, inactiveFileBytes: 0, shmemBytes: 0 });

/** Names of the containers that run. */
export const runningIn = async (host: Host): Promise<string[]> =>
  (await host.containers.list()).filter(({ phase }) => phase === 'running').map(({ name }) => name);

/** How many processes the kernel killed, by cgroup, where it killed any. */
export const oomKills = async (host: Host): Promise<Record<string, number>> =>
  Object.fromEntries(
    (await host.cgroups.list()).filter((state) => state.oomKills > 0).map((state) => [state.path, state.oomKills]),
  );
