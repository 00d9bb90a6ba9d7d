import type { FirewallField } from '../../src/host/firewall.ts';
import { AddressError, parsePrefix } from '../../src/host/ipv4.ts';
import { fibOf, isLocal, maskOf } from './fib.ts';
import { addressOf, type HostNetwork, type Network } from './network.ts';
import { ETHER_ARP, ETHER_IP, ICMP, TCP, UDP, type Packet } from './packet.ts';

/** A field as a number, so that evaluating needs no string. */
export const FIELDS: readonly FirewallField[] = [
  'iifname',
  'oifname',
  'ether saddr',
  'ether type',
  'arp saddr ether',
  'arp saddr ip',
  'ip saddr',
  'ip daddr',
  'meta l4proto',
  'th dport',
  'th sport',
  'meta mark',
  'ct state',
  'ct status',
  'fib daddr type',
];
const [
  IIFNAME,
  OIFNAME,
  ETHER_SADDR,
  ETHER_TYPE,
  ARP_ETHER,
  ARP_IP,
  IP_SADDR,
  IP_DADDR,
  L4PROTO,
  DPORT,
  SPORT,
  MARK,
  CT_STATE,
] = FIELDS.keys() as Iterable<number> as [number, number, ...number[]];
const CT_STATUS = FIELDS.indexOf('ct status');
export { IIFNAME, OIFNAME };

const CT_NEW = 1;
const CT_ESTABLISHED = 2;
/** Only errors about a flow are related, and probes make none. */
const CT_RELATED = 4;
const CT_INVALID = 8;
const CT_UNTRACKED = 16;
const STATES: Readonly<Record<string, number>> = {
  new: CT_NEW,
  established: CT_ESTABLISHED,
  related: CT_RELATED,
  invalid: CT_INVALID,
  untracked: CT_UNTRACKED,
};
const ETHER_TYPES: Readonly<Record<string, number>> = { ip: ETHER_IP, arp: ETHER_ARP };
const PROTOCOLS: Readonly<Record<string, number>> = { icmp: ICMP, tcp: TCP, udp: UDP };

const ARP_FIELDS: ReadonlySet<FirewallField> = new Set(['arp saddr ether', 'arp saddr ip']);
const ANY_FIELDS: ReadonlySet<FirewallField> = new Set([
  'iifname',
  'oifname',
  'ether saddr',
  'ether type',
  'meta mark',
]);

/** What nft puts before a match of its own accord: the ether type that the field is of, or 0. */
export const dependencyOf = (field: FirewallField): number =>
  ARP_FIELDS.has(field) ? ETHER_ARP : ANY_FIELDS.has(field) ? 0 : ETHER_IP;

export const isAddressField = (field: FirewallField): boolean =>
  field === 'ip saddr' || field === 'ip daddr' || field === 'arp saddr ip';

/** Is the field of this number the name of a link? */
export const isNameField = (field: number): boolean => field === IIFNAME || field === OIFNAME;

/** Fields of flags, any of which may be asked for at once. */
export const isBitField = (field: FirewallField): boolean => field === 'ct state' || field === 'ct status';

/** The packet's value of a field. What the packet has not (an Ethernet header, a port) equals nothing that a rule can name. */
export function valueOf(field: number, packet: Packet, host: HostNetwork): number {
  switch (field) {
    case IIFNAME:
      return packet.iif;
    case OIFNAME:
      return packet.oif;
    case ETHER_SADDR:
      return packet.framed ? packet.sourceMac : -1;
    case ETHER_TYPE:
      return packet.etherType;
    case ARP_ETHER:
      return packet.sourceMac;
    case ARP_IP:
    case IP_SADDR:
      return packet.source;
    case IP_DADDR:
      return packet.destination;
    case L4PROTO:
      return packet.protocol;
    case DPORT:
      return packet.protocol === ICMP ? -1 : packet.destPort;
    case SPORT:
      return packet.protocol === ICMP ? -1 : packet.sourcePort;
    case MARK:
      return packet.mark;
    case CT_STATE:
      return packet.established ? CT_ESTABLISHED : CT_NEW;
    case CT_STATUS:
      return packet.flow?.isDnat === true ? 1 : 0;
    default:
      return isLocal(fibOf(host.own), packet.destination) ? 1 : 0;
  }
}

/** A value of a field as nft prints it, as a number and the bits of it that count. */
export interface Wanted {
  readonly value: number;
  readonly mask: number;
}

/** A name that ends in `*` is that name: nothing is matched by its beginning. */
const isLinkName = (text: string): boolean => /^[^/:\s"]{1,15}$/.test(text) && text !== '.' && text !== '..';

/** Reads such a value. @throws AddressError where it is none */
export function parseValue(network: Network, field: FirewallField, text: string): Wanted {
  const whole = (value: number | undefined): Wanted => {
    if (value === undefined) throw new AddressError(`"${text}" is no value of ${field}`);
    return { value, mask: -1 };
  };
  switch (field) {
    case 'iifname':
    case 'oifname':
      return whole(isLinkName(text) ? network.names.id(text) : undefined);
    case 'ether saddr':
    case 'arp saddr ether':
      return whole(/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/.test(text) ? network.macs.id(text) : undefined);
    case 'ip saddr':
    case 'ip daddr':
    case 'arp saddr ip': {
      if (!text.includes('/')) return whole(addressOf(text));
      const { address, first, bits } = parsePrefix(text);
      if (bits === 32) throw new AddressError(`write ${text.slice(0, -3)} without its length, as nft does`);
      if (address !== first) throw new AddressError(`"${text}" has bits set beyond its length`);
      return { value: first | 0, mask: maskOf(bits) };
    }
    case 'ether type':
      return whole(ETHER_TYPES[text]);
    case 'meta l4proto':
      return whole(PROTOCOLS[text]);
    case 'th dport':
    case 'th sport':
      return whole(/^\d{1,5}$/.test(text) && Number(text) < 65_536 ? Number(text) : undefined);
    case 'meta mark':
      return whole(/^0x[0-9a-f]{8}$/.test(text) ? Number(text) | 0 : undefined);
    case 'ct state': {
      const bits = text.split(',').map((state) => STATES[state]);
      return whole(bits.includes(undefined) ? undefined : bits.reduce<number>((all, bit) => all | bit!, 0));
    }
    case 'ct status':
      return whole(text === 'dnat' ? 1 : undefined);
    case 'fib daddr type':
      return whole(text === 'local' ? 1 : undefined);
  }
}
