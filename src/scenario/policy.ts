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

/** Is it written as a file, rather than as a name? */
export const isFile = (policy: string): boolean => policy.includes('/') || /\.[cm]?[jt]s$/.test(policy);

/** Where a scenario, as it is written, may name a policy. */
interface Written {
  memory?: { policy?: string };
  hosts?: Record<string, { memory?: { policy?: string } }>;
  timeline: { do: 'end' | { memory?: { policy?: string } } }[];
}

/** What is written of a scenario that was read, with the files of its policies named as `change` says. */
export function withFiles(written: unknown, change: (file: string) => string): unknown {
  const copy = structuredClone(written) as Written;
  const settings = [
    copy.memory,
    ...Object.values(copy.hosts ?? {}).map(({ memory }) => memory),
    ...copy.timeline.map(({ do: what }) => (what === 'end' ? undefined : what.memory)),
  ];
  // A set: in YAML several places may be one, by an alias.
  for (const memory of new Set(settings))
    if (memory?.policy !== undefined && isFile(memory.policy)) memory.policy = change(memory.policy);
  return copy;
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

/** `./policies/mine.ts` is called mine. */
export const policyNameOf = (file: string): string => file.replace(/^.*\//, '').replace(/\.[^.]*$/, '');
