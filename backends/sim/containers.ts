import type { Clock } from '../../src/host/clock.ts';
import type { Containers, ContainerSpec, ContainerState } from '../../src/host/containers.ts';
import { HostError } from '../../src/host/errors.ts';
import { inOrder } from './batch.ts';
import type { Group } from './group.ts';
import type { Memory } from './memory.ts';
import type { HostNetwork } from './network.ts';

/** From the call of `start` to the first moment of the curves. */
const START_MS = 0;

/** Containers by processes of the memory model: a container is a leaf under another cgroup, named by the last part of its path. */
export function createContainers(memory: Memory, clock: Clock, network: HostNetwork): Containers {
  const keepers = keepersOf(memory);
  return {
    async start(specs) {
      if (START_MS > 0) await clock.sleep(START_MS);
      const nowMs = clock.monotonicMs();
      memory.advance(nowMs);
      return inOrder(specs, (spec) => start(memory, keepers(), spec, clock, network));
    },
    async stop(names) {
      memory.advance(clock.monotonicMs());
      const ending = new Set(names);
      const groups = keepers().flatMap(({ name, group }) => (ending.has(name) ? [group] : []));
      await stop(memory, groups, clock);
      return { applied: names.length };
    },
    async list() {
      memory.advance(clock.monotonicMs());
      return keepers().map(stateOf);
    },
  };
}

/** A cgroup that keeps a container. */
interface Keeper {
  readonly name: string;
  readonly group: Group;
}

/** The keepers in order of name, found anew only when cgroups came or went. */
function keepersOf(memory: Memory): () => readonly Keeper[] {
  let shape = -1;
  let keepers: readonly Keeper[] = [];
  return () => {
    if (shape === memory.shape) return keepers;
    shape = memory.shape;
    keepers = [...memory.root.subtree()]
      .filter((group) => group.children.length === 0 && group.depth > 1)
      .map((group) => ({ name: group.path.slice(group.path.lastIndexOf('/') + 1), group }))
      .sort((a, b) => (a.name < b.name ? -1 : 1));
    return keepers;
  };
}

function start(
  memory: Memory,
  keepers: readonly Keeper[],
  spec: ContainerSpec,
  clock: Clock,
  network: HostNetwork,
): void {
  const { name, cgroup, workload, namespace = '' } = spec;
  const refuse = (code: 'EINVAL' | 'ENOENT' | 'EEXIST' | 'ENODEV', detail: string): never => {
    throw new HostError(code, 'containers.start', name, { detail });
  };
  if (!cgroup.endsWith(`/${name}`)) refuse('EINVAL', `its cgroup ${cgroup} must be under another and bear its name`);
  const group = memory.group(cgroup) ?? refuse('ENOENT', `its cgroup ${cgroup} is not there`);
  if (group.children.length > 0) refuse('EINVAL', `its cgroup ${cgroup} has children`);
  if (keepers.some((other) => other.name === name && other.group.isPopulated()))
    refuse('EEXIST', 'a container of this name runs');
  const space = network.spaces.get(namespace) ?? refuse('ENODEV', `there is no namespace ${namespace}`);
  memory.start(group, workload, clock.monotonicMs());
  // A namespace without a name is there as long as a process lives in it.
  space.holders.push(() => {
    memory.advance(clock.monotonicMs());
    return group.isPopulated();
  });
}

/** All are signalled before any is waited for: whoever crashes while it waits has ended all of them or none. */
async function stop(memory: Memory, groups: readonly Group[], clock: Clock): Promise<void> {
  for (const group of groups) memory.kill(group, clock.monotonicMs());
  for (const group of groups) {
    while (group.isPopulated()) {
      const nowMs = clock.monotonicMs();
      await clock.sleep(memory.goneMs(group, nowMs) - nowMs);
      memory.advance(clock.monotonicMs());
    }
  }
}

const stateOf = ({ name, group }: Keeper): ContainerState => ({
  name,
  cgroup: group.path,
  phase: group.isPopulated() ? 'running' : group.peakBytes > 0 ? 'exited' : 'created',
  oomKilled: group.oomKills > 0,
});
