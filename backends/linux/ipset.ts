import type { FirewallField, FirewallSet } from '../../src/host/firewall.ts';
import { TYPE_OF, type ValueType } from '../../src/host/firewall-values.ts';

/** Kinds of set that hold what the port's sets may (ipset(8)); what none of them holds becomes a rule an element. */
export type IpsetType = 'hash:net' | 'hash:net,iface' | 'hash:ip,port';

/** A prefix of nothing, under which `hash:net,iface` holds a link alone; of 64 links at most (ipset(8)). */
const ANYWHERE = '0.0.0.0/0';

const TYPES: Readonly<Record<string, IpsetType>> = {
  ifname: 'hash:net,iface',
  'ifname ipv4_addr': 'hash:net,iface',
  ipv4_addr: 'hash:net',
  'inet_proto inet_service ipv4_addr': 'hash:ip,port',
};

/** The kind that holds such a set; null where none does. A prefix needs a kind of networks, and no kind maps. */
export function ipsetTypeOf({ fields, intervals, to }: FirewallSet): IpsetType | null {
  if (to !== undefined) return null;
  const type =
    TYPES[
      fields
        .map((field) => TYPE_OF[field])
        .sort()
        .join(' ')
    ];
  return type === undefined || (type === 'hash:ip,port' && intervals) ? null : type;
}

/** An element as ipset writes it. */
export function toIpset({ fields }: FirewallSet, key: string): string {
  const of = new Map(key.split(' . ').map((value, index) => [TYPE_OF[fields[index]!], value]));
  const address = of.get('ipv4_addr') ?? ANYWHERE;
  if (of.has('ifname')) return `${address},${of.get('ifname')}`;
  return of.has('inet_service') ? `${address},${of.get('inet_proto')}:${of.get('inet_service')}` : address;
}

/** The element that ipset writes so. */
export function fromIpset({ fields }: FirewallSet, text: string): string {
  const [address = '', second = ''] = text.split(/,(.*)/);
  const [protocol = '', port = ''] = second.split(':');
  const of: Partial<Record<ValueType, string>> = {
    ipv4_addr: address,
    ifname: second,
    inet_proto: protocol,
    inet_service: port,
  };
  return fields.map((field) => of[TYPE_OF[field]]!).join(' . ');
}

/** Which end of a packet each part of the set is looked up with, in the set's own order: address, then link or port. */
export function directionsOf(fields: readonly FirewallField[]): string {
  const address = fields.find((field) => TYPE_OF[field] === 'ipv4_addr');
  const link = fields.find((field) => TYPE_OF[field] === 'ifname');
  const addressEnd = address === 'ip saddr' ? 'src' : 'dst';
  const linkEnd = link === 'iifname' ? 'src' : 'dst';
  if (link !== undefined) return `${address === undefined ? linkEnd : addressEnd},${linkEnd}`;
  return fields.length === 1 ? addressEnd : `${addressEnd},dst`;
}
