import { formatAddress, parseAddress, parsePrefix } from '../../src/host/ipv4.ts';
import type { NamespaceName } from '../../src/host/namespaces.ts';
import { MAIN_TABLE, ROUTE_PROTOCOL, type RoutingEntry } from '../../src/host/routing.ts';
import { AF_BRIDGE, type LinkRecord } from './link-message.ts';
import { Attributes, ipv4, mac, u32, u8 } from './netlink-codec.ts';
import type { Netlink } from './netlink.ts';
import { AF_INET } from './syscalls.ts';

// include/uapi/linux/rtnetlink.h, neighbour.h, fib_rules.h, if_addr.h
const RTM = { address: 20, route: 24, neighbour: 28, rule: 32 } as const;
export const RTM_GETNEIGH = 30;
/** From RTM_NEW* to RTM_DEL* and RTM_GET*. */
const DELETE = 1;
const GET = 2;

const IFA = { address: 1, local: 2 } as const;
const RTA = { destination: 1, oif: 4, gateway: 5, priority: 6, preferredSource: 7, table: 15 } as const;
const NDA = { destination: 1, lladdr: 2, vlan: 5, master: 9, protocol: 12 } as const;
const FRA = { source: 2, priority: 6, table: 15, protocol: 21 } as const;

const RTPROT_KERNEL = 2;
const RTN_UNICAST = 1;
const RT_SCOPE_UNIVERSE = 0;
const RT_SCOPE_LINK = 253;
const RT_SCOPE_NOWHERE = 255;
const RTNH_F_ONLINK = 4;
const FR_ACT_TO_TABLE = 1;
const NTF_SELF = 2;
const NTF_MASTER = 4;
const NTF_PROXY = 8;
const NTF_EXT_LEARNED = 0x10;
const NUD_NOARP = 0x40;
const NUD_PERMANENT = 0x80;

/** What a rule's priority is: its table's number and this. */
const RULE_PRIORITY = 1000;

/** The kernel gives it to `lo` when it is set up. */
const LOOPBACK_PREFIX = '127.0.0.1/8';

type Of<K extends RoutingEntry['kind']> = Extract<RoutingEntry, { readonly kind: K }>;

/** A request but for its flags, and by which type it adds or deletes. */
export interface EntryRequest {
  readonly add: number;
  readonly delete: number;
  readonly body: readonly Buffer[];
}

const requestOf = (type: number, body: readonly Buffer[]): EntryRequest => ({
  add: type,
  delete: type + DELETE,
  body,
});

/** @param index of the entry's link @throws AddressError */
export function addRequest(entry: RoutingEntry, index: number): EntryRequest {
  return entry.kind === 'route' ? routeRequest(entry, index, 'add') : entryRequest(entry, index, 'add');
}

/** @throws AddressError */
export function removeRequest(entry: RoutingEntry, index: number): EntryRequest {
  return entry.kind === 'route' ? routeRequest(entry, index, 'remove') : entryRequest(entry, index, 'remove');
}

function entryRequest(entry: Exclude<RoutingEntry, Of<'route'>>, index: number, verb: 'add' | 'remove'): EntryRequest {
  switch (entry.kind) {
    case 'address':
      return addressRequest(entry, index);
    case 'rule':
      return ruleRequest(entry, verb);
    case 'neighbour':
      return requestOf(RTM.neighbour, [
        neighbourHeader(AF_INET, index, NUD_PERMANENT, 0),
        ipv4(NDA.destination, parseAddress(entry.address)),
        mac(NDA.lladdr, entry.mac),
        u8(NDA.protocol, ROUTE_PROTOCOL),
      ]);
    case 'proxy':
      return requestOf(RTM.neighbour, [
        neighbourHeader(AF_INET, index, NUD_PERMANENT, NTF_PROXY),
        ipv4(NDA.destination, parseAddress(entry.address)),
        u8(NDA.protocol, ROUTE_PROTOCOL),
      ]);
    case 'fdb':
      return fdbRequest(entry, index);
  }
}

function addressRequest({ prefix }: Of<'address'>, index: number): EntryRequest {
  const { address, bits } = parsePrefix(prefix);
  const header = Buffer.alloc(8);
  header.writeUInt8(AF_INET, 0);
  header.writeUInt8(bits, 1);
  header.writeUInt8(RT_SCOPE_UNIVERSE, 3);
  header.writeUInt32LE(index, 4);
  return requestOf(RTM.address, [header, ipv4(IFA.local, address), ipv4(IFA.address, address)]);
}

function routeRequest({ to, via, table, source }: Of<'route'>, index: number, verb: 'add' | 'remove'): EntryRequest {
  const { address, bits } = parsePrefix(to);
  const header = Buffer.alloc(12);
  header.writeUInt8(AF_INET, 0);
  header.writeUInt8(bits, 1);
  // Removed is whatever matches, whoever made it; RT_SCOPE_NOWHERE stands for any scope there.
  const scope = via === undefined ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
  header.writeUInt8(verb === 'add' ? ROUTE_PROTOCOL : 0, 5);
  header.writeUInt8(verb === 'add' ? scope : RT_SCOPE_NOWHERE, 6);
  header.writeUInt8(RTN_UNICAST, 7);
  header.writeUInt32LE(verb === 'add' && via !== undefined ? RTNH_F_ONLINK : 0, 8);
  return requestOf(RTM.route, [
    header,
    ipv4(RTA.destination, address),
    u32(RTA.oif, index),
    u32(RTA.table, table ?? MAIN_TABLE),
    ...(via === undefined ? [] : [ipv4(RTA.gateway, parseAddress(via))]),
    ...(source === undefined ? [] : [ipv4(RTA.preferredSource, parseAddress(source))]),
  ]);
}

/** Removed is whatever has this form, whoever made it: it stands in the list too. */
function ruleRequest({ from, table }: Of<'rule'>, verb: 'add' | 'remove'): EntryRequest {
  const header = Buffer.alloc(12);
  header.writeUInt8(AF_INET, 0);
  header.writeUInt8(32, 2);
  header.writeUInt8(FR_ACT_TO_TABLE, 7);
  return requestOf(RTM.rule, [
    header,
    ipv4(FRA.source, parseAddress(from)),
    u32(FRA.priority, RULE_PRIORITY + table),
    u32(FRA.table, table),
    ...(verb === 'add' ? [u8(FRA.protocol, ROUTE_PROTOCOL)] : []),
  ]);
}

function fdbRequest({ mac: address, destination }: Of<'fdb'>, index: number): EntryRequest {
  // In the words of bridge(8): `self permanent` of a VXLAN, `master static` of a bridge's port.
  return destination === undefined
    ? requestOf(RTM.neighbour, [neighbourHeader(AF_BRIDGE, index, NUD_NOARP, NTF_MASTER), mac(NDA.lladdr, address)])
    : requestOf(RTM.neighbour, [
        neighbourHeader(AF_BRIDGE, index, NUD_PERMANENT, NTF_SELF),
        mac(NDA.lladdr, address),
        ipv4(NDA.destination, parseAddress(destination)),
      ]);
}

/** struct ndmsg. */
function neighbourHeader(family: number, index: number, state: number, flags: number): Buffer {
  const bytes = Buffer.alloc(12);
  bytes.writeUInt8(family, 0);
  bytes.writeInt32LE(index, 4);
  bytes.writeUInt16LE(state, 8);
  bytes.writeUInt8(flags, 10);
  return bytes;
}

/** What is asked for in a GET: the kernel refuses anything else in it. */
export function getRequest(entry: Of<'neighbour'> | Of<'fdb'>, index: number): readonly Buffer[] {
  if (entry.kind === 'neighbour')
    return [neighbourHeader(AF_INET, index, 0, 0), ipv4(NDA.destination, parseAddress(entry.address))];
  const flags = entry.destination === undefined ? NTF_MASTER : NTF_SELF;
  return [neighbourHeader(AF_BRIDGE, index, 0, flags), mac(NDA.lladdr, entry.mac)];
}

/** What somebody put into the tables of a namespace. */
export function dumpEntries(netlink: Netlink, namespace: NamespaceName, links: readonly LinkRecord[]): RoutingEntry[] {
  const byIndex = new Map(links.map((link) => [link.index, link]));
  const all = { netlink, namespace, byIndex };
  const mayBridge = links.some(({ type, master }) => type === 'vxlan' || master !== undefined);
  return [
    ...dumpAddresses(all),
    ...dumpRoutes(all),
    ...dumpRules(all),
    ...dumpNeighbours(all),
    ...(mayBridge ? dumpFdb(all) : []),
  ];
}

interface Tables {
  readonly netlink: Netlink;
  readonly namespace: NamespaceName;
  readonly byIndex: ReadonlyMap<number, LinkRecord>;
}

function dumpAddresses({ netlink, namespace, byIndex }: Tables): RoutingEntry[] {
  return netlink.dump(RTM.address + GET, [header(8)], (body) => {
    const address = new Attributes(body, 8).ipv4(IFA.local);
    const link = byIndex.get(body.readUInt32LE(4));
    if (address === undefined || link === undefined) return undefined;
    const prefix = `${formatAddress(address)}/${body.readUInt8(1)}`;
    if (link.type === 'loopback' && prefix === LOOPBACK_PREFIX) return undefined;
    return { kind: 'address', namespace, link: link.name, prefix };
  });
}

/** The routes alone. */
export function dumpRoutes({ netlink, namespace, byIndex }: Tables): Of<'route'>[] {
  return netlink.dump(RTM.route + GET, [header(12)], (body) => {
    if (body.readUInt8(5) === RTPROT_KERNEL || body.readUInt8(7) !== RTN_UNICAST) return undefined;
    const attributes = new Attributes(body, 12);
    const link = byIndex.get(attributes.u32(RTA.oif) ?? 0);
    // Of ours none has a metric.
    if (link === undefined || attributes.has(RTA.priority)) return undefined;
    const table = attributes.u32(RTA.table) ?? MAIN_TABLE;
    const via = attributes.ipv4(RTA.gateway);
    const source = attributes.ipv4(RTA.preferredSource);
    return {
      kind: 'route',
      namespace,
      link: link.name,
      to: `${formatAddress(attributes.ipv4(RTA.destination) ?? 0)}/${body.readUInt8(1)}`,
      ...(via === undefined ? {} : { via: formatAddress(via) }),
      ...(table === MAIN_TABLE ? {} : { table }),
      ...(source === undefined ? {} : { source: formatAddress(source) }),
    };
  });
}

function dumpRules({ netlink, namespace }: Tables): RoutingEntry[] {
  return netlink.dump(RTM.rule + GET, [header(12)], (body) => {
    const attributes = new Attributes(body, 12);
    const from = attributes.ipv4(FRA.source);
    const table = attributes.u32(FRA.table) ?? 0;
    const isOfOurForm = body.readUInt8(2) === 32 && attributes.u32(FRA.priority) === RULE_PRIORITY + table;
    return from === undefined || !isOfOurForm
      ? undefined
      : { kind: 'rule', namespace, from: formatAddress(from), table };
  });
}

function dumpNeighbours({ netlink, namespace, byIndex }: Tables): RoutingEntry[] {
  const dump = (flags: number, read: (link: string, address: string, at: Neighbour) => RoutingEntry | undefined) =>
    netlink.dump(RTM.neighbour + GET, [neighbourHeader(AF_INET, 0, 0, flags)], (body) => {
      const at = readNeighbour(body);
      const link = byIndex.get(at.index);
      return link === undefined || at.destination === undefined ? undefined : read(link.name, at.destination, at);
    });
  return [
    ...dump(0, (link, address, { state, mac: lladdr }) =>
      state === NUD_PERMANENT && lladdr !== undefined
        ? { kind: 'neighbour', namespace, link, address, mac: lladdr }
        : undefined,
    ),
    // A proxy entry stands on a link that is everybody's: only what bears the mark is Plimsoll's.
    ...dump(NTF_PROXY, (link, address, { protocol }) =>
      protocol === ROUTE_PROTOCOL ? { kind: 'proxy', namespace, link, address } : undefined,
    ),
  ];
}

function dumpFdb({ netlink, namespace, byIndex }: Tables): RoutingEntry[] {
  // A container's namespace has none: of a thousand, a thousand questions less.
  const mayHave = ({ type, master }: LinkRecord): boolean => type === 'vxlan' || master !== undefined;
  if (![...byIndex.values()].some(mayHave)) return [];
  return netlink.dump(RTM.neighbour + GET, [neighbourHeader(AF_BRIDGE, 0, 0, 0)], (body) => {
    const at = readNeighbour(body);
    const link = byIndex.get(at.index);
    if (link === undefined || at.mac === undefined || !at.isStatic) return undefined;
    const entry = { kind: 'fdb' as const, namespace, link: link.name, mac: at.mac };
    if (at.isOfBridge) return entry;
    return at.destination === undefined || link.type !== 'vxlan'
      ? undefined
      : { ...entry, destination: at.destination };
  });
}

/** A neighbour, or an entry of a forwarding database. */
export interface Neighbour {
  readonly index: number;
  readonly state: number;
  /** Is it an entry of a bridge? Of a VXLAN otherwise, or a neighbour. */
  readonly isOfBridge: boolean;
  readonly destination: string | undefined;
  readonly mac: string | undefined;
  /** Who made it; 0 where nobody said. */
  readonly protocol: number;
  /** Put there by somebody: neither learned nor a link's own. */
  readonly isStatic: boolean;
}

export function readNeighbour(body: Buffer): Neighbour {
  const attributes = new Attributes(body, 12);
  const flags = body.readUInt8(10);
  const state = body.readUInt16LE(8);
  const destination = attributes.ipv4(NDA.destination);
  const isOfBridge = attributes.has(NDA.master);
  // A bridge's own addresses are permanent there, and static is NUD_NOARP (fdb_to_nud in net/bridge/br_fdb.c).
  const wanted = isOfBridge ? NUD_NOARP : NUD_PERMANENT;
  return {
    index: body.readInt32LE(4),
    state,
    isOfBridge,
    destination: destination === undefined ? undefined : formatAddress(destination),
    mac: attributes.mac(NDA.lladdr),
    protocol: attributes.u8(NDA.protocol) ?? 0,
    isStatic: (state & wanted) !== 0 && (flags & NTF_EXT_LEARNED) === 0 && !attributes.has(NDA.vlan),
  };
}

/** A dump's header: a family, and nothing else chosen. */
function header(length: number): Buffer {
  const bytes = Buffer.alloc(length);
  bytes.writeUInt8(AF_INET, 0);
  return bytes;
}
