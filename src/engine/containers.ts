import type { ContainerState } from '../host/containers.ts';
import type { PhasedPlan, Step } from '../host/steps.ts';
import { containerCgroup } from '../memory/plan.ts';
import { namespaceOf } from '../network/resolve.ts';
import type { DesiredContainer } from './desired.ts';

/** Which containers to end and which to begin. `wanted` are those asked for that have not come to their end. */
export function planContainers(wanted: readonly DesiredContainer[], observed: readonly ContainerState[]): PhasedPlan {
  const phases = new Map(observed.map(({ name, phase }) => [name, phase]));
  const names = new Set(wanted.map(({ name }) => name));
  return {
    stop: [
      observed
        .filter(({ name, phase }) => phase === 'running' && !names.has(name))
        .map(({ name }): Step => ({ verb: 'containers.stop', with: name, why: 'nobody asks for it' })),
    ],
    start: [
      wanted
        .filter(({ name }) => (phases.get(name) ?? 'created') === 'created')
        .map((container): Step => {
          const { name, workload, attachments = [] } = container;
          return {
            verb: 'containers.start',
            with: {
              name,
              cgroup: containerCgroup(name),
              workload,
              ...(attachments.length > 0 && { namespace: namespaceOf(container) }),
            },
            why: 'asked for',
          };
        }),
    ],
  };
}

/** Those that ran and are gone, of the wanted ones. */
export const endedAmong = (
  wanted: readonly DesiredContainer[],
  observed: readonly ContainerState[],
): ContainerState[] => {
  const names = new Set(wanted.map(({ name }) => name));
  return observed.filter(({ name, phase }) => phase === 'exited' && names.has(name));
};
