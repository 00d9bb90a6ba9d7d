import type { Applied } from './batch.ts';
import type { Ipv4Address, Ipv4Prefix, MacAddress } from './ipv4.ts';
import type { NamespaceName } from './namespaces.ts';

/** The kernel's main routing table (RT_TABLE_MAIN). */
export const MAIN_TABLE = 254;

/**
 * Who made a route or neighbour (`rtm_protocol`, NDA_PROTOCOL): 80, `P`, is Plimsoll's mark. The kernel leaves 5 to 255
 * to programs (include/uapi/linux/rtnetlink.h).
 */
export const ROUTE_PROTOCOL = 80;

/** An address of a link. */
export interface AddressEntry {
  readonly kind: 'address';
  readonly namespace: NamespaceName;
  readonly link: string;
  readonly prefix: Ipv4Prefix;
}

/** A route; without `via` its destination is on the link. Its gateway need not be in a network of the link (`onlink`). */
export interface RouteEntry {
  readonly kind: 'route';
  readonly namespace: NamespaceName;
  readonly link: string;
  /** `0.0.0.0/0` for the default route; its bits beyond the length are zero. */
  readonly to: Ipv4Prefix;
  readonly via?: Ipv4Address;
  /** MAIN_TABLE unless set. */
  readonly table?: number;
  /** The address that packets get whose sender chose none. */
  readonly source?: Ipv4Address;
}

/** Packets that come from this address go by that table (`ip rule`); priority 1000 plus the table's number. */
export interface RuleEntry {
  readonly kind: 'rule';
  readonly namespace: NamespaceName;
  readonly from: Ipv4Address;
  readonly table: number;
}

/** A permanent neighbour. */
export interface NeighbourEntry {
  readonly kind: 'neighbour';
  readonly namespace: NamespaceName;
  readonly link: string;
  readonly address: Ipv4Address;
  readonly mac: MacAddress;
}

/** The link answers ARP for this address in place of whoever has it behind the host (`ip neigh add proxy`); needs forwarding. */
export interface ProxyEntry {
  readonly kind: 'proxy';
  readonly namespace: NamespaceName;
  readonly link: string;
  readonly address: Ipv4Address;
}

/**
 * A static entry of a forwarding database. With a destination it is the VXLAN's own (`self`): frames to this MAC go to
 * the host of that address. Without, it is the bridge's (`master`): frames to this MAC go out by this port.
 */
export interface FdbEntry {
  readonly kind: 'fdb';
  readonly namespace: NamespaceName;
  readonly link: string;
  readonly mac: MacAddress;
  readonly destination?: Ipv4Address;
}

/** One line of a table of the kernel's. */
export type RoutingEntry = AddressEntry | RouteEntry | RuleEntry | NeighbourEntry | ProxyEntry | FdbEntry;

/** An address to be told to everybody on a link: that it is at the link's MAC from now on. */
export interface Announcement {
  readonly namespace: NamespaceName;
  readonly link: string;
  readonly address: Ipv4Address;
}

/** Addresses, routes, neighbours and forwarding databases. */
export interface Routing {
  /** One that is there is left as it is. ENODEV: no such link or namespace; EEXIST: another in its place (a route to the same destination, an FDB entry of the same MAC). */
  add(entries: readonly RoutingEntry[]): Promise<Applied>;
  /** One that is gone already, or whose link is, is no error. */
  remove(entries: readonly RoutingEntry[]): Promise<Applied>;
  /** Sends a gratuitous ARP for each (RFC 5227, 2.3). ENODEV: no such link or namespace; ENETDOWN: the link is down. */
  announce(announcements: readonly Announcement[]): Promise<Applied>;
  /**
   * What somebody put into the tables of these namespaces, in the fields above, in order of `entryKey`; not what the
   * kernel puts there itself (routes of protocol kernel, learned neighbours and FDB entries, a link's own MAC). Of proxy
   * entries, which stand on links of others, only Plimsoll's own (ROUTE_PROTOCOL).
   */
  list(namespaces: readonly NamespaceName[]): Promise<readonly RoutingEntry[]>;
}

/** A line as one string: equal lines have equal keys. For people, logs and maps. */
export function entryKey(entry: RoutingEntry): string {
  const at = entry.namespace === '' ? '' : `${entry.namespace}: `;
  switch (entry.kind) {
    case 'address':
      return `${at}address ${entry.prefix} dev ${entry.link}`;
    case 'route': {
      const via = entry.via === undefined ? '' : ` via ${entry.via}`;
      const table = (entry.table ?? MAIN_TABLE) === MAIN_TABLE ? '' : ` table ${entry.table}`;
      const source = entry.source === undefined ? '' : ` src ${entry.source}`;
      return `${at}route ${entry.to}${via} dev ${entry.link}${table}${source}`;
    }
    case 'rule':
      return `${at}rule from ${entry.from} table ${entry.table}`;
    case 'neighbour':
      return `${at}neighbour ${entry.address} lladdr ${entry.mac} dev ${entry.link}`;
    case 'proxy':
      return `${at}proxy ${entry.address} dev ${entry.link}`;
    case 'fdb':
      return `${at}fdb ${entry.mac} dev ${entry.link}${entry.destination === undefined ? ' master' : ` dst ${entry.destination}`}`;
  }
}
