import type { Applied } from './batch.ts';
import type { CgroupLimit, CgroupPath, CgroupSpec } from './cgroups.ts';
import type { ContainerSpec } from './containers.ts';
import { elementKey, type FirewallChange } from './firewall.ts';
import type { Host } from './host.ts';
import type { LinkChange, LinkMove, LinkName, LinkSpec } from './links.ts';
import type { NamespaceName } from './namespaces.ts';
import { type Announcement, entryKey, type RoutingEntry } from './routing.ts';
import { shaperKey, type ShaperObject } from './shaper.ts';
import type { SupervisorSettings } from './supervision.ts';
import { type VfChange, type VfCount, vfKey, type VfName } from './virtual-functions.ts';

/** What each changing verb takes: one entry a verb, named `capability.verb`. A new capability adds its lines here. */
export interface Verbs {
  'cgroups.create': CgroupSpec;
  'cgroups.limit': CgroupLimit;
  'cgroups.remove': CgroupPath;
  'containers.start': ContainerSpec;
  'containers.stop': string;
  'supervision.supervise': SupervisorSettings;
  'supervision.release': CgroupPath;
  'namespaces.create': NamespaceName;
  'namespaces.remove': NamespaceName;
  'links.create': LinkSpec;
  'links.set': LinkChange;
  'links.move': LinkMove;
  'links.remove': LinkName;
  'virtualFunctions.enable': VfCount;
  'virtualFunctions.set': VfChange;
  'virtualFunctions.bind': VfName;
  'virtualFunctions.unbind': VfName;
  'routing.add': RoutingEntry;
  'routing.remove': RoutingEntry;
  'routing.announce': Announcement;
  'firewall.apply': FirewallChange;
  'shaper.add': ShaperObject;
  'shaper.remove': ShaperObject;
}

export type Verb = keyof Verbs;

/** One call of one verb on one target, safe to repeat. */
export type Step = { [V in Verb]: { readonly verb: V; readonly with: Verbs[V]; readonly why: string } }[Verb];

/** How each verb is sent to a host, as one batch. */
export const SEND: { readonly [V in Verb]: (host: Host, batch: readonly Verbs[V][]) => Promise<Applied> } = {
  'cgroups.create': (host, batch) => host.cgroups.create(batch),
  'cgroups.limit': (host, batch) => host.cgroups.limit(batch),
  'cgroups.remove': (host, batch) => host.cgroups.remove(batch),
  'containers.start': (host, batch) => host.containers.start(batch),
  'containers.stop': (host, batch) => host.containers.stop(batch),
  'supervision.supervise': (host, batch) => host.supervision.supervise(batch),
  'supervision.release': (host, batch) => host.supervision.release(batch),
  'namespaces.create': (host, batch) => host.namespaces.create(batch),
  'namespaces.remove': (host, batch) => host.namespaces.remove(batch),
  'links.create': (host, batch) => host.links.create(batch),
  'links.set': (host, batch) => host.links.set(batch),
  'links.move': (host, batch) => host.links.move(batch),
  'links.remove': (host, batch) => host.links.remove(batch),
  'virtualFunctions.enable': (host, batch) => host.virtualFunctions.enable(batch),
  'virtualFunctions.set': (host, batch) => host.virtualFunctions.set(batch),
  'virtualFunctions.bind': (host, batch) => host.virtualFunctions.bind(batch),
  'virtualFunctions.unbind': (host, batch) => host.virtualFunctions.unbind(batch),
  'routing.add': (host, batch) => host.routing.add(batch),
  'routing.remove': (host, batch) => host.routing.remove(batch),
  'routing.announce': (host, batch) => host.routing.announce(batch),
  'firewall.apply': (host, batch) => host.firewall.apply(batch),
  'shaper.add': (host, batch) => host.shaper.add(batch),
  'shaper.remove': (host, batch) => host.shaper.remove(batch),
};

/** What a step acts on, for people and logs. */
export function targetOf(step: Step): string {
  switch (step.verb) {
    case 'cgroups.create':
    case 'cgroups.limit':
      return step.with.path;
    case 'containers.start':
      return step.with.name;
    case 'supervision.supervise':
      return step.with.parent;
    case 'links.create':
    case 'links.set':
    case 'links.move':
    case 'links.remove':
      return step.with.namespace === '' ? step.with.name : `${step.with.namespace}: ${step.with.name}`;
    case 'routing.add':
    case 'routing.remove':
      return entryKey(step.with);
    case 'routing.announce':
      return `${step.with.address} dev ${step.with.namespace === '' ? '' : `${step.with.namespace}: `}${step.with.link}`;
    case 'virtualFunctions.enable':
      return step.with.pf;
    case 'virtualFunctions.set':
    case 'virtualFunctions.bind':
    case 'virtualFunctions.unbind':
      return vfKey(step.with);
    case 'shaper.add':
    case 'shaper.remove':
      return shaperKey(step.with);
    case 'firewall.apply':
      return firewallTarget(step.with);
    case 'namespaces.create':
    case 'namespaces.remove':
    case 'cgroups.remove':
    case 'containers.stop':
    case 'supervision.release':
      return step.with;
  }
}

const firewallTarget = ({ frame, add, remove }: FirewallChange): string => {
  const parts = [
    ...(frame === undefined ? [] : [frame === null ? 'away' : 'laid anew']),
    ...add.map((element) => `+ ${elementKey(element)}`),
    ...remove.map((element) => `- ${elementKey(element)}`),
  ];
  return parts.length > 3 ? `${parts.slice(0, 3).join(', ')} and ${parts.length - 3} more` : parts.join(', ');
};

/** Steps that do not depend on each other, so that a host may send each verb's steps as one batch. */
export type Stage = readonly Step[];

/**
 * The order in which a host is changed. Going: `stop` processes, `detach` what they had. Coming: `machine` makes what
 * containers share, `attach` what each has for itself, `start` its processes.
 */
export const PHASES = ['stop', 'detach', 'machine', 'attach', 'start'] as const;
export type Phase = (typeof PHASES)[number];

/** What one subsystem wants done: stages in order within a phase; phases in the order above. */
export type PhasedPlan = Readonly<Partial<Record<Phase, readonly Stage[]>>>;
