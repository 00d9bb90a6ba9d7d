import type { FirewallElement } from '../host/firewall.ts';
import type { Host } from '../host/host.ts';
import type { Ipv4Address, MacAddress } from '../host/ipv4.ts';
import type { RoutingEntry } from '../host/routing.ts';
import { SEND, type Step, targetOf, type Verb, type Verbs } from '../host/steps.ts';
import type { NetworkSpec } from './scenario.ts';

/** What Plimsoll calls its links, and the address of a network's gateway. */
export interface NetworkNames {
  readonly bridge: (network: string) => string;
  readonly vxlan: (network: string) => string;
  readonly port: (network: string, container: string) => string;
  readonly gateway: (spec: NetworkSpec) => Ipv4Address;
}

/** A container's place in a network. */
export interface Holder {
  readonly container: string;
  readonly network: string;
}

/** The VXLAN's entry for a container's MAC, whatever that comes to be. */
export interface FdbOf {
  readonly kind: 'fdbOf';
  readonly of: Holder;
  readonly link: string;
  readonly destination: Ipv4Address;
}

/** The VXLAN's neighbour for a container's address; with another MAC where one is given. */
export interface NeighbourOf {
  readonly kind: 'neighbourOf';
  readonly of: Holder;
  readonly link: string;
  readonly mac?: MacAddress;
}

/** The filter's element that lets a container's port send from its own MAC and address. */
export interface BindingOf {
  readonly kind: 'bindingOf';
  readonly of: Holder;
  readonly port: string;
}

/** Something that an administrator does to a host; what is Plimsoll's own is named by whose it is. */
export type ByHand =
  | { readonly verb: 'namespaces.create'; readonly with: readonly Verbs['namespaces.create'][] }
  | { readonly verb: 'namespaces.remove'; readonly with: readonly Verbs['namespaces.remove'][] }
  | { readonly verb: 'links.create'; readonly with: readonly Verbs['links.create'][] }
  | { readonly verb: 'links.set'; readonly with: readonly Verbs['links.set'][] }
  | { readonly verb: 'links.remove'; readonly with: readonly Verbs['links.remove'][] }
  | { readonly verb: 'routing.add' | 'routing.remove'; readonly with: readonly (RoutingEntry | FdbOf | NeighbourOf)[] }
  /** `null`: the whole filter is taken away. */
  | {
      readonly verb: 'firewall.apply';
      readonly add: readonly (FirewallElement | BindingOf)[];
      readonly remove: readonly (FirewallElement | BindingOf)[];
      readonly frame?: null;
    };

/** What a container has of a network: the lease last told of. */
export type LeaseOf = (holder: Holder) => { readonly address: Ipv4Address; readonly mac: MacAddress };

/** Does it, by the host's own capabilities, and says what was done. @throws HostError */
export async function doByHand(
  host: Pick<Host, 'namespaces' | 'links' | 'routing' | 'firewall'>,
  change: ByHand,
  leaseOf: LeaseOf,
): Promise<string> {
  const [verb, batch] = resolved(change, leaseOf);
  // Each batch carries what its verb takes: TypeScript cannot follow that through the pair.
  const send = SEND[verb] as (to: typeof host, batch: readonly Step['with'][]) => ReturnType<(typeof SEND)[Verb]>;
  const { error } = await send(host, batch);
  if (error !== undefined) throw error;
  return `${verb} ${batch.map((each) => targetOf({ verb, with: each, why: '' } as Step)).join(', ')}`;
}

function resolved(change: ByHand, leaseOf: LeaseOf): readonly [Verb, readonly Step['with'][]] {
  switch (change.verb) {
    case 'routing.add':
    case 'routing.remove':
      return [change.verb, change.with.map((entry) => entryOf(entry, leaseOf))];
    case 'firewall.apply': {
      const { add, remove, frame } = change;
      const elements = (some: typeof add): FirewallElement[] => some.map((each) => elementOf(each, leaseOf));
      return [change.verb, [{ add: elements(add), remove: elements(remove), ...(frame === null && { frame }) }]];
    }
    case 'namespaces.create':
    case 'namespaces.remove':
    case 'links.create':
    case 'links.set':
    case 'links.remove':
      return [change.verb, change.with];
  }
}

function entryOf(entry: RoutingEntry | FdbOf | NeighbourOf, leaseOf: LeaseOf): RoutingEntry {
  if (entry.kind === 'fdbOf') {
    const { link, destination, of } = entry;
    return { kind: 'fdb', namespace: '', link, mac: leaseOf(of).mac, destination };
  }
  if (entry.kind === 'neighbourOf') {
    const { address, mac } = leaseOf(entry.of);
    return { kind: 'neighbour', namespace: '', link: entry.link, address, mac: entry.mac ?? mac };
  }
  return entry;
}

function elementOf(element: FirewallElement | BindingOf, leaseOf: LeaseOf): FirewallElement {
  if (!('kind' in element)) return element;
  const { address, mac } = leaseOf(element.of);
  return { family: 'bridge', set: 'bindings', key: `${element.port} . ${mac} . ${address}` };
}
