import type { FirewallElement } from '../host/firewall.ts';
import { HostError } from '../host/errors.ts';
import type { Ipv4Address, MacAddress } from '../host/ipv4.ts';
import type { LinkMove, LinkName } from '../host/links.ts';
import type { NamespaceName } from '../host/namespaces.ts';
import type { RoutingEntry } from '../host/routing.ts';
import type { ForeignQdisc } from '../host/shaper.ts';
import { SEND, type Step, targetOf, type Verb, type Verbs } from '../host/steps.ts';
import { formatMilliseconds, type Milliseconds } from '../host/units.ts';
import { vfKey, type VfName, type VirtualFunction } from '../host/virtual-functions.ts';
import type { Bystander } from './run.ts';
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

/** A VF's link, wherever it is and whatever it is called; it keeps its name unless another is given. */
export interface MoveOf {
  readonly vf: VfName;
  readonly to: NamespaceName;
  readonly name?: string;
}

/** What somebody does to a host, or what befalls it, besides what Plimsoll itself can do. */
export type Mishap =
  /** Lays a root qdisc, or takes away what is there. */
  | { readonly kind: 'qdisc'; readonly link: LinkName; readonly root: Pick<ForeignQdisc, 'type' | 'handle'> | null }
  /** The signal on a card's wire goes for so long. */
  | { readonly kind: 'flap'; readonly pf: string; readonly forMs: Milliseconds }
  /** Something keeps a namespace alive so long when its name goes, as an orphaned socket does. */
  | { readonly kind: 'hold'; readonly namespace: NamespaceName; readonly forMs: Milliseconds }
  /** A VF's link is in a namespace that nobody can name. */
  | { readonly kind: 'hide'; readonly vf: VfName };

/** Something that an administrator does to a host; what is Plimsoll's own is named by whose it is. */
export type ByHand =
  | { readonly verb: 'namespaces.create'; readonly with: readonly Verbs['namespaces.create'][] }
  | { readonly verb: 'namespaces.remove'; readonly with: readonly Verbs['namespaces.remove'][] }
  | { readonly verb: 'links.create'; readonly with: readonly Verbs['links.create'][] }
  | { readonly verb: 'links.set'; readonly with: readonly Verbs['links.set'][] }
  | { readonly verb: 'links.move'; readonly with: readonly (Verbs['links.move'] | MoveOf)[] }
  | { readonly verb: 'virtualFunctions.enable'; readonly with: readonly Verbs['virtualFunctions.enable'][] }
  | { readonly verb: 'virtualFunctions.set'; readonly with: readonly Verbs['virtualFunctions.set'][] }
  | { readonly verb: 'virtualFunctions.bind' | 'virtualFunctions.unbind'; readonly with: readonly VfName[] }
  | { readonly verb: 'links.remove'; readonly with: readonly Verbs['links.remove'][] }
  | { readonly verb: 'routing.add' | 'routing.remove'; readonly with: readonly (RoutingEntry | FdbOf | NeighbourOf)[] }
  /** `null`: the whole filter is taken away. */
  | {
      readonly verb: 'firewall.apply';
      readonly add: readonly (FirewallElement | BindingOf)[];
      readonly remove: readonly (FirewallElement | BindingOf)[];
      readonly frame?: null;
    }
  | { readonly verb: 'mishap'; readonly with: readonly Mishap[] };

/** What a container has of a network: the lease last told of. */
export type LeaseOf = (holder: Holder) => { readonly address: Ipv4Address; readonly mac: MacAddress };

/** Does it, by the host's own capabilities, and says what was done. @throws HostError */
export async function doByHand(host: Bystander, change: ByHand, leaseOf: LeaseOf): Promise<string> {
  if (change.verb === 'mishap') {
    for (const mishap of change.with) await host.befall(mishap);
    return change.with.map(mishapText).join(', ');
  }
  const [verb, batch] = await resolved(host, change, leaseOf);
  // Each batch carries what its verb takes: TypeScript cannot follow that through the pair.
  const send = SEND[verb] as unknown as (
    to: Bystander,
    batch: readonly Step['with'][],
  ) => ReturnType<(typeof SEND)[Verb]>;
  const { error } = await send(host, batch);
  if (error !== undefined) throw error;
  return `${verb} ${batch.map((each) => targetOf({ verb, with: each, why: '' } as Step)).join(', ')}`;
}

function mishapText(mishap: Mishap): string {
  switch (mishap.kind) {
    case 'qdisc':
      return `${mishap.root === null ? 'no root qdisc' : `root qdisc ${mishap.root.type} ${mishap.root.handle}`} on ${mishap.link.name}`;
    case 'flap':
      return `no signal on the wire of ${mishap.pf} for ${formatMilliseconds(mishap.forMs)}`;
    case 'hold':
      return `something keeps namespace ${mishap.namespace} alive for ${formatMilliseconds(mishap.forMs)}`;
    case 'hide':
      return `the link of ${vfKey(mishap.vf)} goes where nobody can name it`;
  }
}

async function resolved(
  host: Bystander,
  change: Exclude<ByHand, { verb: 'mishap' }>,
  leaseOf: LeaseOf,
): Promise<readonly [Verb, readonly Step['with'][]]> {
  switch (change.verb) {
    case 'routing.add':
    case 'routing.remove':
      return [change.verb, change.with.map((entry) => entryOf(entry, leaseOf))];
    case 'firewall.apply': {
      const { add, remove, frame } = change;
      const elements = (some: typeof add): FirewallElement[] => some.map((each) => elementOf(each, leaseOf));
      return [change.verb, [{ add: elements(add), remove: elements(remove), ...(frame === null && { frame }) }]];
    }
    case 'links.move': {
      const { virtual } = await host.virtualFunctions.list(await host.namespaces.list());
      return [change.verb, change.with.map((move) => ('vf' in move ? moveOf(move, virtual) : move))];
    }
    case 'namespaces.create':
    case 'namespaces.remove':
    case 'links.create':
    case 'links.set':
    case 'links.remove':
    case 'virtualFunctions.enable':
    case 'virtualFunctions.set':
    case 'virtualFunctions.bind':
    case 'virtualFunctions.unbind':
      return [change.verb, change.with];
  }
}

function moveOf({ vf, to, name }: MoveOf, virtual: readonly VirtualFunction[]): LinkMove {
  const link = virtual.find((each) => vfKey(each) === vfKey(vf))?.link;
  if (link == null)
    throw new HostError('ENODEV', 'links.move', vfKey(vf), {
      detail: 'it has no link that anybody sees: bind it first',
    });
  return { ...link, to: { namespace: to, name: name ?? link.name } };
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
