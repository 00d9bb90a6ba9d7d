import { formatAddress, type Ipv4Address, type MacAddress, parseAddress } from '../../src/host/ipv4.ts';
import type { LinkKind, LinkState } from '../../src/host/links.ts';
import type { NamespaceName } from '../../src/host/namespaces.ts';
import { Attributes, ipv4, mac, nested, text, u16be, u32, u8 } from './netlink-codec.ts';
import type { Netlink } from './netlink.ts';

// include/uapi/linux/rtnetlink.h and if_link.h.
export const RTM_NEWLINK = 16;
export const RTM_DELLINK = 17;
export const RTM_GETLINK = 18;
export const RTM_SETLINK = 19;
export const AF_BRIDGE = 7;
const IFF_UP = 1;
const IFF_LOOPBACK = 8;
const IFF_LOWER_UP = 0x1_0000;
export const IFLA = {
  address: 1,
  ifname: 3,
  mtu: 4,
  link: 5,
  qdisc: 6,
  master: 10,
  protinfo: 12,
  linkinfo: 18,
  ifalias: 20,
  vfInfoList: 22,
  afSpec: 26,
  group: 27,
  netNsFd: 28,
  extMask: 29,
  txQueues: 31,
  rxQueues: 32,
  linkNetnsid: 37,
  portName: 38,
  parentDevice: 56,
  parentBus: 57,
} as const;
const INFO = { kind: 1, data: 2, slaveData: 5 } as const;
const VXLAN = { id: 1, local: 4, learning: 7, port: 15, proxy: 11, ageing: 8 } as const;
const VETH_INFO_PEER = 1;
const MACVLAN_MODE = 1;
const MACVLAN_MODE_BRIDGE = 4;
const BRIDGE_STP_STATE = 5;
export const BRPORT_MODE = 4;
export const BRPORT_LEARNING = 8;
const RTEXT_FILTER_VF = 1;
const RTEXT_FILTER_SKIP_STATS = 8;
const AF_INET = 2;
const AF_INET6 = 10;
/** Where the settings of a link are in IFLA_AF_SPEC (include/uapi/linux/ip.h, ipv6.h); IPv4's array begins with number 1. */
const INET_CONF = 1;
const IPV4_FORWARDING = 0;
const INET6_CONF = 2;
const IPV6_DISABLED = 26;

/** struct ifinfomsg. */
export function linkHeader({
  family = 0,
  index = 0,
  up,
}: { readonly family?: number; readonly index?: number; readonly up?: boolean } = {}): Buffer {
  const bytes = Buffer.alloc(16);
  bytes.writeUInt8(family, 0);
  bytes.writeInt32LE(index, 4);
  if (up !== undefined) {
    bytes.writeUInt32LE(up ? IFF_UP : 0, 8);
    bytes.writeUInt32LE(IFF_UP, 12);
  }
  return bytes;
}

/**
 * A veth of as many queues as there are processors uses one of them, unless told otherwise; but to go down to one the
 * kernel waits for an RCU grace period at each end, a millisecond in all (veth_init_queues in drivers/net/veth.c).
 */
export const ONE_QUEUE: readonly Buffer[] = [u32(IFLA.txQueues, 1), u32(IFLA.rxQueues, 1)];

/** What both ends of a veth say of themselves; a namespace by its open file, where it is another than the socket's. */
export function endAttributes(
  { name, mac: address, mtu }: { readonly name: string; readonly mac?: MacAddress; readonly mtu?: number },
  namespaceFd: number | undefined,
): Buffer[] {
  return [
    text(IFLA.ifname, name),
    ...(address === undefined ? [] : [mac(IFLA.address, address)]),
    ...(mtu === undefined ? [] : [u32(IFLA.mtu, mtu)]),
    ...(namespaceFd === undefined ? [] : [u32(IFLA.netNsFd, namespaceFd)]),
  ];
}

/** IFLA_LINKINFO of a new link; of a veth with its peer's attributes. */
export function kindAttributes(kind: LinkKind, peer: readonly Buffer[]): Buffer {
  const data = (): Buffer[] => {
    switch (kind.type) {
      case 'veth':
        return [nested(VETH_INFO_PEER, [linkHeader(), ...peer])];
      case 'bridge':
        return [u32(BRIDGE_STP_STATE, 0)];
      case 'vxlan':
        return [
          u32(VXLAN.id, kind.vni),
          ipv4(VXLAN.local, parseAddress(kind.local)),
          u16be(VXLAN.port, kind.udpPort),
          u8(VXLAN.learning, 0),
          u8(VXLAN.proxy, 1),
          // No entry ever grows old: all are permanent.
          u32(VXLAN.ageing, 0),
        ];
      case 'macvlan':
        return [u32(MACVLAN_MODE, MACVLAN_MODE_BRIDGE)];
    }
  };
  return nested(IFLA.linkinfo, [text(INFO.kind, kind.type), nested(INFO.data, data())]);
}

/** A link as a dump tells it: other links by their index. */
export interface LinkRecord {
  readonly index: number;
  readonly name: string;
  readonly alias: string;
  readonly mac: MacAddress;
  readonly mtu: number;
  readonly up: boolean;
  readonly carrier: boolean;
  readonly type: LinkState['type'];
  /** Does the kernel know it as a virtual kind, so that it can be deleted? */
  readonly isVirtual: boolean;
  readonly master: number | undefined;
  /** What it hangs on, or a veth's other end. */
  readonly link: number | undefined;
  /** Where that is, as this namespace numbers others; undefined: here. */
  readonly linkNamespace: number | undefined;
  readonly learning: boolean;
  readonly hairpin: boolean;
  readonly forwarding: boolean;
  readonly ipv6: boolean;
  readonly vni: number | undefined;
  readonly local: Ipv4Address | undefined;
  readonly udpPort: number | undefined;
  /** Its root qdisc's kind. */
  readonly qdisc: string;
  /** The PCI address of its card. */
  readonly device: string | undefined;
}

const TYPES = new Set<string>(['veth', 'bridge', 'vxlan', 'macvlan']);

function typeOf(kind: string | undefined, flags: number): LinkState['type'] {
  if (kind !== undefined && TYPES.has(kind)) return kind as LinkKind['type'];
  return (flags & IFF_LOOPBACK) === 0 ? 'other' : 'loopback';
}

export function readLink(body: Buffer): LinkRecord {
  const flags = body.readUInt32LE(8);
  const attributes = new Attributes(body, 16);
  const info = attributes.nested(IFLA.linkinfo);
  const kind = info?.text(INFO.kind);
  const type = typeOf(kind, flags);
  const vxlan = type === 'vxlan' ? info?.nested(INFO.data) : undefined;
  const local = vxlan?.ipv4(VXLAN.local);
  const families = attributes.nested(IFLA.afSpec);
  const inet = families?.nested(AF_INET)?.bytes(INET_CONF);
  const inet6 = families?.nested(AF_INET6)?.bytes(INET6_CONF);
  return {
    index: body.readInt32LE(4),
    name: attributes.text(IFLA.ifname) ?? '',
    alias: attributes.text(IFLA.ifalias) ?? '',
    mac: attributes.mac(IFLA.address) ?? '',
    mtu: attributes.u32(IFLA.mtu) ?? 0,
    up: (flags & IFF_UP) !== 0,
    carrier: (flags & IFF_LOWER_UP) !== 0,
    type,
    isVirtual: kind !== undefined,
    master: attributes.u32(IFLA.master),
    link: attributes.u32(IFLA.link),
    linkNamespace: attributes.bytes(IFLA.linkNetnsid)?.readInt32LE(),
    learning: (info?.nested(INFO.slaveData)?.u8(BRPORT_LEARNING) ?? 1) !== 0,
    hairpin: (info?.nested(INFO.slaveData)?.u8(BRPORT_MODE) ?? 0) !== 0,
    forwarding: (inet?.readUInt32LE(IPV4_FORWARDING * 4) ?? 0) !== 0,
    // A link too small for IPv6 has no settings of it (net/ipv6/addrconf.c).
    ipv6: inet6 !== undefined && inet6.readUInt32LE(IPV6_DISABLED * 4) === 0,
    vni: vxlan?.u32(VXLAN.id),
    local: local === undefined ? undefined : formatAddress(local),
    udpPort: vxlan?.u16be(VXLAN.port),
    qdisc: attributes.text(IFLA.qdisc) ?? 'noqueue',
    device: attributes.text(IFLA.parentBus) === 'pci' ? attributes.text(IFLA.parentDevice) : undefined,
  };
}

const leaveOutStatistics = u32(IFLA.extMask, RTEXT_FILTER_SKIP_STATS);
/** As above, with what a PF tells of its VFs. */
export const withFunctions = u32(IFLA.extMask, RTEXT_FILTER_SKIP_STATS | RTEXT_FILTER_VF);

/** All links of a namespace. */
export const dumpLinks = (netlink: Netlink): LinkRecord[] =>
  netlink.dump(RTM_GETLINK, [linkHeader(), leaveOutStatistics], readLink);

/** One link. @throws Refusal ENODEV */
export const getLink = (netlink: Netlink, name: string): LinkRecord =>
  readLink(netlink.get(RTM_GETLINK, [linkHeader(), text(IFLA.ifname, name), leaveOutStatistics]));

/** A record with names in place of numbers. */
export function stateOf(
  record: LinkRecord,
  namespace: NamespaceName,
  byIndex: ReadonlyMap<number, LinkRecord>,
): LinkState {
  const { name, alias, mac: address, mtu, up, carrier, type, master, learning, hairpin, forwarding, ipv6 } = record;
  const { qdisc, vni, local, udpPort, device } = record;
  // A veth tells its other end so, which it does not stand on.
  const standsOn =
    type !== 'veth' && record.linkNamespace === undefined && record.link !== record.index ? record.link : undefined;
  const lower = standsOn === undefined ? undefined : byIndex.get(standsOn)?.name;
  return {
    namespace,
    name,
    type,
    up,
    carrier,
    mtu,
    mac: address,
    alias,
    master: master === undefined ? null : (byIndex.get(master)?.name ?? null),
    learning,
    hairpin,
    forwarding,
    ipv6,
    qdisc,
    ...(vni === undefined ? {} : { vni }),
    ...(local === undefined ? {} : { local }),
    ...(udpPort === undefined ? {} : { udpPort }),
    ...(lower === undefined ? {} : { lower }),
    ...(device === undefined ? {} : { device }),
  };
}
