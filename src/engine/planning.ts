import type { ContainerState } from '../host/containers.ts';
import type { Host } from '../host/host.ts';
import type { NamespaceName } from '../host/namespaces.ts';
import type { PhasedPlan } from '../host/steps.ts';
import { samePlainData } from '../host/same.ts';
import { vfKey } from '../host/virtual-functions.ts';
import type { PolicyReference } from '../host/supervision.ts';
import { checked } from '../memory/checked.ts';
import { type MemoryObserved, observeMemory, planMemory } from '../memory/plan.ts';
import type { MemoryPolicy } from '../memory/policy.ts';
import { NetworkError } from '../network/desired.ts';
import { planEgress } from '../egress/plan.ts';
import type { ShapingState } from '../egress/picture.ts';
import { type HostNetworks, pictureOf } from '../network/host-network.ts';
import { portName } from '../network/names.ts';
import { type NetworkObserved, observeNetwork, uplinkOf } from '../network/observe.ts';
import type { Uplink } from '../network/picture.ts';
import { linkKey } from '../network/functions-plan.ts';
import { awaitedLinks, planNetwork } from '../network/plan.ts';
import { namespaceOf, type PlacedContainer, resolve } from '../network/resolve.ts';
import type { Shared } from '../network/shared.ts';
import { type Asked, attachedOf, wantedOf } from './asked.ts';
import { planContainers } from './containers.ts';
import type { DesiredContainer, DesiredEndpoint } from './desired.ts';
import { mergePlans, type Plan } from './plan.ts';
import { observeShaping, shapingOf, withVfRates } from './shaping.ts';

/** Finds a policy that was checked before; throws where there is none. */
export type Policies = (reference: PolicyReference) => MemoryPolicy;

/** What a host shows of itself. */
export interface Observed {
  readonly memory: MemoryObserved;
  readonly network: NetworkObserved;
  readonly shaper: ShapingState;
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
): Promise<Observed> => {
  const memory = await observeMemory(host);
  const network = found ?? (await observeNetwork(host, foreignNamespaces(asked), unseen));
  const shaper = await observeShaping(host, asked, network);
  return { memory, network, shaper, containers: await host.containers.list() };
};

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
    planNetworksOf(asked, shared, observed),
    planContainers(wanted, observed.containers),
  ]);
}

/** Networks stay as they are while their uplink, which was named, is not there. */
function planNetworksOf(asked: Asked, shared: Shared, { network, shaper }: Observed): PhasedPlan {
  const networks = networksOf(asked, shared, network);
  if (networks instanceof NetworkError) return {};
  const shaping = shapingOf(asked, networks, network, shaper);
  const plain = pictureOf(networks, network);
  const picture = { ...plain, elements: [...plain.elements, ...shaping.marks] };
  const awaited = awaitedLinks(picture, network);
  const objects = shaping.objects.filter(
    (object) => network.unseen?.has(object.namespace) !== true && !awaited.has(linkKey(object)),
  );
  return planNetwork(picture, network, planEgress(objects, shaper));
}

/** What this host's networks come to, as things are; an error where the uplink that was named is not there. */
export function networksOf(asked: Asked, shared: Shared, observed: NetworkObserved): HostNetworks | NetworkError {
  const { host, desired, held } = asked;
  const uplink = uplinkFor(asked, observed);
  if (uplink instanceof NetworkError) return uplink;
  return resolve(host, desired?.network, placedOf(asked, observed), shared, uplink, held);
}

/** Whoever is present, with what their VFs are to keep by themselves. */
export const placedOf = (asked: Asked, observed: NetworkObserved): readonly PlacedContainer[] =>
  withVfRates(presentOf(asked, observed), asked.desired?.network?.networks ?? [], {
    held: asked.held,
    found: observed.functions,
  });

/** Whoever is to be attached and has not gone with a namespace that somebody else made. Every namespace has a loopback. */
export function presentOf(asked: Asked, { links, unseen }: NetworkObserved): readonly DesiredEndpoint[] {
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

/** By VF, by the names of its link on the host, and by the host's end of an interface: the namespace of the container that has it or had it last. */
export function holdersOf(asked: Asked, { links, functions }: NetworkObserved): ReadonlyMap<string, NamespaceName> {
  const attached = attachedOf(asked);
  const placed = new Map(attached.map((each) => [each.name, namespaceOf(each)]));
  const ports = attached.flatMap(({ name, attachments = [] }) =>
    attachments.map(
      ({ network }) => [linkKey({ namespace: '', name: portName(network, name) }), placed.get(name)!] as const,
    ),
  );
  const addresses = new Map(functions.virtual.map((vf) => [vfKey(vf), vf.pciAddress]));
  const byVf = asked.held.vfs.flatMap((record) => {
    const key = vfKey(record);
    const here = links.find(
      ({ namespace, device }) => namespace === '' && device === addresses.get(key) && device !== undefined,
    );
    const names = [record.original?.link?.name, here?.name].filter((name) => name !== undefined);
    const holder = placed.get(record.container) ?? record.container;
    return [key, ...names.map((name) => linkKey({ namespace: '', name }))].map((each) => [each, holder] as const);
  });
  return new Map([...ports, ...byVf]);
}
