import { fibOf } from './fib.ts';
import { BROADCAST, ZERO_MAC, type Link } from './network.ts';
import { ETHER_ARP, type Packet } from './packet.ts';

/** What a bridge does with frames to one MAC. */
export interface Way {
  /** The bridge's own MAC and those of its ports are its own stack's (local entries of its FDB). */
  readonly isOwn: boolean;
  /** A macvlan on it has the MAC. */
  readonly isAbove: boolean;
  /** The port that a static entry names. */
  readonly known: Link | null;
  /** The ports behind which somebody may take it, but for the one that it came by. */
  readonly ports: readonly Link[];
}

/** What was found out of a bridge under one revision. */
export interface Ways {
  readonly revision: number;
  readonly byMac: Map<number, Way>;
  /** By the address that ARP asks for: the ports behind which somebody may answer. */
  readonly byAddress: Map<number, readonly Link[]>;
}

function waysOf(bridge: Link): Ways {
  const { revision } = bridge.space.host.network;
  if (bridge.ways?.revision === revision) return bridge.ways;
  return (bridge.ways = { revision, byMac: new Map(), byAddress: new Map() });
}

/** Where a bridge sends frames to this MAC, which is not everybody's. */
export function wayTo(bridge: Link, mac: number): Way {
  const { byMac } = waysOf(bridge);
  let way = byMac.get(mac);
  if (way === undefined) {
    way = {
      isOwn: mac === bridge.mac || bridge.ports.some((port) => port.mac === mac),
      isAbove: bridge.children.some((child) => child.mac === mac),
      known: bridge.bridgeFdb.get(mac) ?? null,
      ports: bridge.ports.filter((port) => leadsTo(port, mac)),
    };
    byMac.set(mac, way);
  }
  return way;
}

/**
 * The ports by which a bridge sends what is for everybody. A question of ARP goes only where somebody may answer: the others
 * hear it and do nothing; a gratuitous one, which asks for its sender, is for all.
 */
export function portsForAll(bridge: Link, packet: Packet, all: boolean): readonly Link[] {
  const { etherType, request, source, destination } = packet;
  if (all || etherType !== ETHER_ARP || !request || source === destination) return bridge.ports;
  const { byAddress } = waysOf(bridge);
  let ports = byAddress.get(destination);
  if (ports === undefined)
    byAddress.set(destination, (ports = bridge.ports.filter((port) => mayAnswer(port, destination))));
  return ports;
}

/**
 * May a frame to this MAC, sent out by this port, come to somebody? Where not, sending it (a bridge floods what it does
 * not know) changes nothing. It stands for learning too: a learned MAC is behind a port where it is taken.
 */
function leadsTo(port: Link, mac: number): boolean {
  if (port.type === 'vxlan') return port.vxlanFdb.has(mac) || port.vxlanFdb.has(ZERO_MAC);
  return port.type !== 'veth' || mayTake(port.peer!, mac);
}

/** May this link, or what hangs on it, take a frame to this MAC? */
const mayTake = (link: Link, mac: number): boolean =>
  mac === BROADCAST || link.mac === mac || link.master !== null || link.children.some((child) => child.mac === mac);

function mayAnswer(port: Link, address: number): boolean {
  if (port.type === 'vxlan') return port.neighbours.has(address);
  if (port.type !== 'veth') return true;
  const { space, master, children, proxies } = port.peer!;
  return master !== null || children.length > 0 || proxies.has(address) || fibOf(space).local.has(address);
}
