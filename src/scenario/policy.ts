import type { PolicyReference } from '../host/supervision.ts';
import type { MemoryDesired, Scenario } from './scenario.ts';

/** The policies that a scenario's hosts come to use, each once. */
export function policiesOf(scenario: Scenario): PolicyReference[] {
  const all = [
    ...scenario.hosts.map(({ memory }) => memory.policy),
    ...scenario.timeline.flatMap(({ action }) => (action.kind === 'memory' ? [action.memory.policy] : [])),
  ];
  return all.filter(
    (policy, index) => all.findIndex(({ name, file }) => name === policy.name && file === policy.file) === index,
  );
}

/** The same scenario with its policies changed, wherever they are set. */
export function withPolicies(scenario: Scenario, change: (policy: PolicyReference) => PolicyReference): Scenario {
  const changed = (memory: MemoryDesired): MemoryDesired => ({ ...memory, policy: change(memory.policy) });
  return {
    ...scenario,
    hosts: scenario.hosts.map((host) => ({ ...host, memory: changed(host.memory) })),
    timeline: scenario.timeline.map((entry) =>
      entry.action.kind === 'memory'
        ? { ...entry, action: { ...entry.action, memory: changed(entry.action.memory) } }
        : entry,
    ),
  };
}
