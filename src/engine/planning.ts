import type { ContainerState } from '../host/containers.ts';
import type { Host } from '../host/host.ts';
import type { NamespaceName } from '../host/namespaces.ts';
import type { PhasedPlan } from '../host/steps.ts';
import { samePlainData } from '../host/same.ts';
import type { PolicyReference } from '../host/supervision.ts';
import { checked } from '../memory/checked.ts';
import { type MemoryObserved, observeMemory, planMemory } from '../memory/plan.ts';
import type { MemoryPolicy } from '../memory/policy.ts';
import { NetworkError } from '../network/desired.ts';
import { type HostNetworks, pictureOf } from '../network/host-network.ts';
import { type NetworkObserved, observeNetwork, uplinkOf } from '../network/observe.ts';
import type { Uplink } from '../network/picture.ts';
import { planNetwork } from '../network/plan.ts';
import { type PlacedContainer, resolve } from '../network/resolve.ts';
import type { Shared } from '../network/shared.ts';
import { type Asked, attachedOf, wantedOf } from './asked.ts';
import { planContainers } from './containers.ts';
import type { DesiredContainer } from './desired.ts';
import { mergePlans, type Plan } from './plan.ts';

/** Finds a policy that was checked before; throws where there is none. */
export type Policies = (reference: PolicyReference) => MemoryPolicy;

/** What a host shows of itself. */
export interface Observed {
  readonly memory: MemoryObserved;
  readonly network: NetworkObserved;
  readonly containers: readonly ContainerState[];
}

/** Reads back everything that the engine plans by; of networks what was `found` just now, or all but what is in `unseen` namespaces. */
export const observe = async (
  host: Host,
  asked?: Asked,
  {
    found,
    unseen,
  }: { readonly found?: NetworkObserved | undefined; readonly unseen?: ReadonlySet<NamespaceName> | undefined } = {},
): Promise<Observed> => ({
  memory: await observeMemory(host),
  network: found ?? (await observeNetwork(host, foreignNamespaces(asked), unseen)),
  containers: await host.containers.list(),
});

/** Namespaces of which nothing else is asked than before: what is in them needs no look to attach somebody else. */
export function untouchedNamespaces(before: Asked, to: Asked): ReadonlySet<NamespaceName> {
  if (!samePlainData(before.desired?.network, to.desired?.network)) return new Set();
  const was = new Map((before.desired?.endpoints ?? []).map((each) => [each.name, each]));
  const all = (to.desired?.endpoints ?? []).filter(({ namespace }) => namespace !== undefined);
  const touched = new Set(
    all.filter((each) => !samePlainData(was.get(each.name), each)).map(({ namespace }) => namespace!),
  );
  return new Set(all.map(({ namespace }) => namespace!).filter((namespace) => !touched.has(namespace)));
}

/** Does a plan do anything in one of these namespaces? */
export const reachesInto = (plan: Plan, namespaces: ReadonlySet<NamespaceName>): boolean =>
  plan.some((stage) =>
    stage.some(
      (step) =>
        step.verb === 'links.create' && step.with.kind.type === 'veth' && namespaces.has(step.with.kind.peer.namespace),
    ),
  );

/** Namespaces that somebody else made. */
export const foreignNamespaces = (asked: Asked | undefined): string[] =>
  (asked?.desired?.endpoints ?? []).flatMap(({ namespace }) => namespace ?? []);

/**
 * From what is to what is asked, over all subsystems; nothing where they agree. `lingering` are dead containers whose
 * cgroups stay a little longer. @throws PolicyFault
 */
export function planFrom(
  asked: Asked,
  shared: Shared,
  observed: Observed,
  policies: Policies,
  lingering: readonly DesiredContainer[] = [],
): Plan {
  const wanted = wantedOf(asked);
  const memory = asked.desired?.memory ?? null;
  const requests = [...wanted, ...lingering].toSorted(byName);
  return mergePlans([
    planMemory(memory, memory && checked(policies(memory.policy)), requests, observed.memory),
    planNetworkOf(asked, shared, observed.network),
    planContainers(wanted, observed.containers),
  ]);
}

/** Networks stay as they are while their uplink, which was named, is not there. */
function planNetworkOf(asked: Asked, shared: Shared, observed: NetworkObserved): PhasedPlan {
  const networks = networksOf(asked, shared, observed);
  return networks instanceof NetworkError ? {} : planNetwork(pictureOf(networks), observed);
}

/** What this host's networks come to, as things are; an error where the uplink that was named is not there. */
export function networksOf(asked: Asked, shared: Shared, observed: NetworkObserved): HostNetworks | NetworkError {
  const { host, desired } = asked;
  const uplink = uplinkFor(asked, observed);
  if (uplink instanceof NetworkError) return uplink;
  return resolve(host, desired?.network, presentOf(asked, observed), shared, uplink);
}

/** Whoever is to be attached and has not gone with a namespace that somebody else made. Every namespace has a loopback. */
export function presentOf(asked: Asked, { links, unseen }: NetworkObserved): readonly PlacedContainer[] {
  const present = new Set(links.flatMap(({ type, namespace }) => (type === 'loopback' ? [namespace] : [])));
  return attachedOf(asked).filter(
    ({ namespace }) => namespace === undefined || present.has(namespace) || unseen?.has(namespace),
  );
}

/** The uplink of what is asked; null where nothing tells or nothing is asked, an error where the named one is not there. */
export function uplinkFor(
  { desired }: Pick<Asked, 'desired'>,
  observed: NetworkObserved,
): Uplink | null | NetworkError {
  try {
    return desired?.network === undefined ? null : uplinkOf(observed, desired.network.uplink);
  } catch (error) {
    if (error instanceof NetworkError) return error;
    throw error;
  }
}

export const byName = (a: { readonly name: string }, b: { readonly name: string }): number =>
  a.name < b.name ? -1 : 1;
