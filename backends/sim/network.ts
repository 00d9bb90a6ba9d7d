import { formatAddress, parseAddress, parsePrefix, type Ipv4Address, type Ipv4Prefix } from '../../src/host/ipv4.ts';
import type { LinkKind } from '../../src/host/links.ts';
import type { Random } from '../../src/host/random.ts';
import type { Fabric } from './fabric.ts';
import type { Ways } from './fdb.ts';
import type { HostFilter } from './filter.ts';
import type { Fib } from './fib.ts';
import type { Nic, Vf } from './nic.ts';
import type { Nics } from './nics.ts';
import type { ForeignRoot, Qdisc } from './qdisc.ts';
import type { Traffic } from './traffic.ts';
import type { Trips } from './trips.ts';

/** An address as the model has it: signed, because V8 keeps signed 32-bit numbers without allocating. */
export const addressOf = (text: Ipv4Address): number => parseAddress(text) | 0;
export const addressText = (address: number): Ipv4Address => formatAddress(address >>> 0);

/** Texts as small numbers, so that comparing and looking up need no string. */
class Interned {
  readonly #ids = new Map<string, number>();
  readonly #texts: string[] = [];

  constructor(first: readonly string[]) {
    for (const text of first) this.id(text);
  }

  id(text: string): number {
    let id = this.#ids.get(text);
    if (id === undefined) {
      id = this.#texts.push(text) - 1;
      this.#ids.set(text, id);
    }
    return id;
  }

  text(id: number): string {
    return this.#texts[id]!;
  }
}

/** The number of ff:ff:ff:ff:ff:ff, and of 00:00:00:00:00:00, which names a VXLAN's default destination. */
export const BROADCAST = 0;
export const ZERO_MAC = 1;

/** What a host's wire is to be: its link, address and size; see `SimulatedMachine`. */
export interface Uplink {
  readonly link: string;
  readonly prefix: Ipv4Prefix;
  readonly mtu: number;
  readonly qdisc: ForeignRoot | null;
}

/** Everything that simulated hosts have of networks, and the fabric (one switch) that joins them. */
export class Network {
  readonly hosts = new Map<string, HostNetwork>();
  /** Grows with every change of anything: what was derived under another revision is derived anew. */
  revision = 1;
  readonly names = new Interned(['']);
  readonly macs = new Interned(['ff:ff:ff:ff:ff:ff', '00:00:00:00:00:00']);
  readonly clock: { readonly nowMs: number };
  /** By address, every MAC that ARP ever told of for it. */
  readonly everLearned = new Map<number, Set<number>>();
  /** Streams under way. */
  traffic!: Traffic;
  /** Derived: see fabric.ts. */
  fabric: Fabric | null = null;
  readonly #random: Random;

  constructor(random: Random, clock: { readonly nowMs: number }) {
    this.#random = random;
    this.clock = clock;
  }

  changed(): void {
    this.revision++;
    this.traffic.changed();
  }

  /** A host with its own namespace, bare. */
  addHost(name: string, cpus: number, beside: ForeignFirewall): HostNetwork {
    const host = new HostNetwork(this, name, cpus, beside);
    this.hosts.set(name, host);
    return host;
  }

  /** Gives a host its uplink, up and with an address. */
  plug(host: HostNetwork, { link: name, prefix, mtu, qdisc }: Uplink): void {
    const link = host.own.links.get(name) ?? new Link(host.own, name, 'other', this.randomMac());
    link.mtu = mtu;
    link.up = true;
    link.qdisc = qdisc;
    link.addresses.push(addressEntry(prefix));
    host.uplink = link;
    this.changed();
  }

  /** Locally administered and not of a group, as the kernel draws them (eth_random_addr). */
  randomMac(): number {
    const byte = (): number => this.#random.integer(0, 255);
    const bytes = [(byte() & 0xfc) | 2, byte(), byte(), byte(), byte(), byte()];
    return this.macs.id(bytes.map((each) => each.toString(16).padStart(2, '0')).join(':'));
  }
}

/** Another firewall on the host, as Docker leaves one: its FORWARD policy, and whether bridged frames pass it too. */
export interface ForeignFirewall {
  readonly foreignForward: 'accept' | 'drop';
  /** `net.bridge.bridge-nf-call-iptables`. */
  readonly bridgeNfCallIptables: boolean;
  /** How many of its rules a packet passes in FORWARD; 0: it has none, nor tracks flows. */
  readonly foreignRules: number;
}

/** One host's namespaces and packet filter. */
export class HostNetwork {
  readonly network: Network;
  readonly name: string;
  readonly cpus: number;
  readonly beside: ForeignFirewall;
  readonly spaces = new Map<string, Space>();
  readonly own: Space;
  uplink: Link | null = null;
  nics!: Nics;
  hasFairQueues = true;
  filter: HostFilter | null = null;
  #links = 0;

  constructor(network: Network, name: string, cpus: number, beside: ForeignFirewall) {
    this.network = network;
    this.name = name;
    this.cpus = cpus;
    this.beside = beside;
    this.own = this.addSpace('');
  }

  /** A number for a new link, not used again. */
  nextIndex(): number {
    return ++this.#links;
  }

  addSpace(name: string): Space {
    const space = new Space(this, name);
    this.spaces.set(name, space);
    const lo = new Link(space, 'lo', 'loopback', ZERO_MAC);
    lo.mtu = 65536;
    lo.up = true;
    lo.addresses.push(addressEntry('127.0.0.1/8'));
    space.loopback = lo;
    this.network.changed();
    return space;
  }
}

/** Where UDP probes to one port of a namespace are answered. */
export interface Listener {
  arrived(at: Space, sentTo: number, sentBy: Space, seenFrom: number): void;
}

/** A network namespace. */
export class Space {
  readonly host: HostNetwork;
  readonly name: string;
  readonly links = new Map<string, Link>();
  routes: Route[] = [];
  rules: { readonly from: number; readonly table: number }[] = [];
  readonly listeners = new Map<number, Listener>();
  /** What keeps it alive when its name is gone, as long as it says so. */
  readonly holders: (() => boolean)[] = [];
  loopback!: Link;
  /** Derived: see fib.ts. */
  fib: Fib | null = null;

  constructor(host: HostNetwork, name: string) {
    this.host = host;
    this.name = name;
  }

  /** `h1/web`, as the port names who answered. */
  get label(): string {
    return `${this.host.name}/${this.name}`;
  }
}

/** An address of a link, and its network. */
export interface Address {
  readonly prefix: Ipv4Prefix;
  readonly address: number;
  readonly bits: number;
  readonly first: number;
  readonly last: number;
}

export function addressEntry(prefix: Ipv4Prefix): Address {
  const { address, bits, first, last } = parsePrefix(prefix);
  return { prefix: `${formatAddress(address)}/${bits}`, address: address | 0, bits, first: first | 0, last: last | 0 };
}

/** Somebody's route; those of the kernel's own are derived from addresses. */
export interface Route {
  readonly link: Link;
  readonly first: number;
  readonly bits: number;
  /** Null: the destination is on the link. */
  readonly via: number | null;
  readonly table: number;
  /** Null: an address of the link. */
  readonly source: number | null;
}

export type LinkType = LinkKind['type'] | 'loopback' | 'other';

/** A link of any kind; fields that only one kind has are empty in the others. */
export class Link {
  space: Space;
  name: string;
  nameId: number;
  readonly index: number;
  readonly type: LinkType;
  mac: number;
  /** Somebody chose the MAC, or the MTU, of a bridge: its ports no longer do (br_stp_recalculate_bridge_id, br_mtu_auto_adjust). */
  macChosen = false;
  mtuChosen = false;
  alias = '';
  mtu = 1500;
  up = false;
  master: Link | null = null;
  learning = true;
  hairpin = false;
  forwarding = false;
  /** A thousand links with IPv6 make every change 25 times slower: none has it unless it is asked for. */
  ipv6 = false;
  readonly addresses: Address[] = [];
  readonly neighbours = new Map<number, number>();
  /** Neighbours' MACs that ARP told of, by address, since that time: see arp.ts. */
  readonly learned = new Map<number, number>();
  learnedSinceMs = 0;
  /** Addresses that all on the link have been told of, and its MAC of that time. */
  readonly introduced = new Map<number, number>();
  readonly proxies = new Set<number>();
  /** A bridge's: its ports, and by which of them static entries send a MAC. */
  readonly ports: Link[] = [];
  readonly bridgeFdb = new Map<number, Link>();
  /** A bridge's: has it ever had a port? A new one has carrier, one whose last port went has not. */
  hadPorts = false;
  /** A VXLAN's: to which host a MAC goes. */
  readonly vxlanFdb = new Map<number, number>();
  /** Derived: see trips.ts. */
  trips: Trips | null = null;
  vni = 0;
  local = 0;
  udpPort = 0;
  /** A veth's other end. */
  peer: Link | null = null;
  /** Of a PF, and of a VF: the card; of a VF itself besides. */
  nic: Nic | null = null;
  vf: Vf | null = null;
  /** A macvlan's. */
  parent: Link | null = null;
  readonly children: Link[] = [];
  /** What leaves by it passes this; null: what the kernel attaches by itself. */
  qdisc: Qdisc | null = null;
  /** A bridge's, derived: see fdb.ts. */
  ways: Ways | null = null;
  /** Derived: see arp.ts. */
  unanswered: Unanswered | null = null;

  constructor(space: Space, name: string, type: LinkType, mac: number) {
    this.space = space;
    this.name = name;
    this.nameId = space.host.network.names.id(name);
    this.index = space.host.nextIndex();
    this.type = type;
    this.mac = mac;
    space.links.set(name, this);
  }

  /** What it learned by its old one is forgotten (arp_netdev_event, net/ipv4/arp.c). */
  changeMac(mac: number): void {
    if (mac === this.mac) return;
    this.mac = mac;
    this.learned.clear();
  }

  moveTo(space: Space, name: string): void {
    this.space.links.delete(this.name);
    this.space = space;
    this.name = name;
    this.nameId = space.host.network.names.id(name);
    space.links.set(name, this);
  }

  /** IFF_LOWER_UP: it is up, and so is what it hangs on. */
  get carrier(): boolean {
    if (!this.up) return false;
    if (this.vf !== null) return this.vf.hasSignal;
    if (this.nic !== null) return this.nic.carrier;
    if (this.peer !== null) return this.peer.up;
    if (this.parent !== null) return this.parent.carrier;
    return this.type === 'bridge' && this.hadPorts ? this.ports.some((port) => port.carrier) : true;
  }

  /** `plx-7 of h1`, `eth0 in h1/web`. */
  get label(): string {
    return this.space.name === '' ? `${this.name} of ${this.space.host.name}` : `${this.name} in ${this.space.label}`;
  }
}

/** What ARP did not find under one revision: by the sender's address, the addresses asked for. */
export interface Unanswered {
  readonly revision: number;
  readonly bySender: Map<number, Set<number>>;
}
