import type { Ipv4Address, Ipv4Prefix } from '../host/ipv4.ts';
import type { VfKnobs } from '../host/virtual-functions.ts';

/** A network as it is asked for. Plain data: the store keeps it as JSON. */
export interface NetworkSpec {
  readonly name: string;
  /**
   * `bridge`: of one host, each host that uses it has its own. `overlay`: of all hosts that use it, a tenant's own.
   * `intranet`: addresses of the underlay, for containers that serve outside. `sriov`: each container has a VF, and is on the
   * network that the card is plugged into, which has addresses of its own.
   */
  readonly kind: 'bridge' | 'overlay' | 'intranet' | 'sriov';
  /** Its IP segment; of an intranet the part of the underlay whose addresses are Plimsoll's to give. */
  readonly pool: Ipv4Prefix;
  /** Nothing in or out, host addresses and published ports included. */
  readonly internal: boolean;
  /** Has it a way out, by the host's own address? */
  readonly nat: boolean;
  /** As large as its uplink allows unless set. */
  readonly mtu?: number;
  /** Of an intranet: how a container gets its address. A macvlan passes by the host's filter: its outgoing packets are not held back. */
  readonly by?: 'routed' | 'macvlan' | 'vf';
  /** Of an SR-IOV network, and of an intranet by VFs. */
  readonly vf?: VfDemand;
  /** Of an SR-IOV network: its router. */
  readonly gateway?: Ipv4Address;
}

/** Which VFs a network takes, and how they are set. */
export interface VfDemand {
  /** Any PF that is all of this; any at all unless something is set. */
  readonly select: {
    readonly pf?: string;
    readonly driver?: string;
    /** As sysfs writes it: `0x8086`. */
    readonly vendor?: string;
  };
  /** A PF that has no VFs is given so many; unless set, those that are there are used. */
  readonly count?: number;
  /** Making VFs drops the PF's link for seconds: may it, where the host itself uses it? */
  readonly takeDownLink?: boolean;
  /** What is not set stays as it was. */
  readonly knobs: Partial<Omit<VfKnobs, 'mac'>>;
}

/** Does a container of this network have a VF? */
export const isByVf = ({ kind, by }: NetworkSpec): boolean => kind === 'sriov' || (kind === 'intranet' && by === 'vf');

/** A port of the host that leads to one of a container. */
export interface PublishedPort {
  readonly protocol: 'tcp' | 'udp';
  /** Of the host's addresses this one alone; all of them unless set. */
  readonly hostAddress?: Ipv4Address;
  readonly hostPort: number;
  readonly containerPort: number;
}

/** A container's place in a network. */
export interface Attachment {
  readonly network: string;
  /** This address and no other; any free one unless set. */
  readonly address?: Ipv4Address;
  readonly publish: readonly PublishedPort[];
}

/** What is asked of a host's networks. */
export interface NetworkDesired {
  /** The link to the other hosts: the one with the default route, or the only one with an address, unless set. */
  readonly uplink?: string;
  readonly networks: readonly NetworkSpec[];
}

/** Whoever is attached. */
export interface AttachedContainer {
  readonly name: string;
  /** In order of its interfaces: eth0, eth1 … */
  readonly attachments?: readonly Attachment[];
}

/** The networks asked for contradict each other, the host, or themselves; `about` is the network or container. */
export class NetworkError extends Error {
  override readonly name = 'NetworkError';
  readonly about: string;

  constructor(about: string, message: string) {
    super(`${about}: ${message}`);
    this.about = about;
  }
}

/** The first address of a network with a way out is its gateway's. */
export const hasGateway = ({ kind, nat }: NetworkSpec): boolean => kind !== 'intranet' && kind !== 'sriov' && nat;
