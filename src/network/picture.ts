import type { FirewallElement, FirewallFrame } from '../host/firewall.ts';
import { formatAddress, type Ipv4Address, type Ipv4Prefix, type MacAddress, parsePrefix } from '../host/ipv4.ts';
import type { LinkKind, LinkSettings } from '../host/links.ts';
import type { NamespaceName } from '../host/namespaces.ts';
import type { Announcement, RoutingEntry } from '../host/routing.ts';
import type { NetworkSpec, PublishedPort } from './desired.ts';
import type { PictureFunctions, VfRates } from './sriov.ts';

/** A link to be there. */
export interface PictureLink {
  readonly namespace: NamespaceName;
  readonly name: string;
  /** Undefined: it comes with another link, as its peer, or is the host's own and only these settings of it are wanted. */
  readonly kind?: LinkKind | { readonly type: 'vf' };
  readonly settings: LinkSettings;
  readonly why: string;
}

/** What a host's networks should look like: everything that Plimsoll makes, and nothing else. */
export interface Picture {
  /** To be made; a container's namespace that somebody else made is not among them. */
  readonly namespaces: readonly NamespaceName[];
  readonly links: readonly PictureLink[];
  readonly entries: readonly RoutingEntry[];
  /** Null: no filter is needed. */
  readonly frame: FirewallFrame | null;
  readonly elements: readonly FirewallElement[];
  /** Addresses that others on the wire are told of when they come. */
  readonly announcements: readonly Announcement[];
  readonly functions: PictureFunctions;
}

/** The part of a picture that one network or container adds. */
export type PicturePart = Partial<Omit<Picture, 'frame' | 'functions'>>;

/** The link to the other hosts, as it was found. */
export interface Uplink {
  readonly link: string;
  readonly address: Ipv4Address;
  /** How many of its bits name the underlay. */
  readonly bits: number;
  readonly mtu: number;
  /** The next router, where there is a default route. */
  readonly gateway?: Ipv4Address;
}

/** A network as this host takes part in it. */
export interface HostNetwork {
  readonly spec: NetworkSpec;
  /** Of an overlay. */
  readonly vni?: number;
  /** Endpoints on other hosts. */
  readonly peers: readonly Peer[];
}

/** A container's interface on this host. */
export interface Endpoint {
  readonly container: string;
  readonly namespace: NamespaceName;
  readonly network: string;
  /** eth0, eth1 … */
  readonly link: string;
  readonly address: Ipv4Address;
  readonly mac: MacAddress;
  readonly publish: readonly PublishedPort[];
  /** Another of the container's interfaces has the default route. */
  readonly secondary: boolean;
  /** What its VF itself holds back or guarantees. */
  readonly vfRates?: Partial<VfRates>;
}

/** An endpoint on another host: frames to its MAC go to that host. */
export interface Peer {
  readonly address: Ipv4Address;
  readonly mac: MacAddress;
  readonly tunnelAddress: Ipv4Address;
}

/** The gateway of a network with a way out, `10.0.0.1/24`: the first address of its segment. */
export function gatewayOf({ pool }: NetworkSpec): { readonly address: Ipv4Address; readonly prefix: Ipv4Prefix } {
  const { first, bits } = parsePrefix(pool);
  const address = formatAddress(first + 1);
  return { address, prefix: `${address}/${bits}` };
}

/** An element of a set of the frame. */
export const element = (
  family: FirewallElement['family'],
  set: string,
  fields: readonly (string | number)[],
  to?: readonly (string | number)[],
): FirewallElement => ({ family, set, key: fields.join(' . '), ...(to && { value: to.join(' . ') }) });
