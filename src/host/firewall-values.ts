import type { FirewallField } from './firewall.ts';
import { AddressError, parsePrefix } from './ipv4.ts';
import { LINK_NAME_LENGTH_MAX } from './links.ts';

/** The type that a field has in nft (nft(8), EXPRESSIONS). */
export type ValueType =
  | 'ifname'
  | 'ether_addr'
  | 'ether_type'
  | 'ipv4_addr'
  | 'inet_proto'
  | 'inet_service'
  | 'mark'
  | 'ct_state'
  | 'ct_status'
  | 'fib_addrtype';

/** The fields of the port and their types. */
export const TYPE_OF: Readonly<Record<FirewallField, ValueType>> = {
  iifname: 'ifname',
  oifname: 'ifname',
  'ether saddr': 'ether_addr',
  'ether type': 'ether_type',
  'arp saddr ether': 'ether_addr',
  'arp saddr ip': 'ipv4_addr',
  'ip saddr': 'ipv4_addr',
  'ip daddr': 'ipv4_addr',
  'meta l4proto': 'inet_proto',
  'th dport': 'inet_service',
  'th sport': 'inet_service',
  'meta mark': 'mark',
  'ct state': 'ct_state',
  'ct status': 'ct_status',
  'fib daddr type': 'fib_addrtype',
};

/** Is this one of the fields? */
export const isField = (text: string): text is FirewallField => Object.hasOwn(TYPE_OF, text);

/** Words by which nft prints the values of these types; what it has no word for it prints as a number, which the port does not speak. */
const WORDS: Partial<Record<ValueType, readonly string[]>> = {
  ether_type: ['ip', 'arp', 'ip6'],
  inet_proto: ['tcp', 'udp', 'icmp', 'sctp'],
  fib_addrtype: ['unicast', 'local', 'broadcast', 'multicast', 'blackhole', 'unreachable', 'prohibit'],
};

/** A mark as nft prints it: `0x504c0003`. */
export const markText = (mark: number): string => `0x${mark.toString(16).padStart(8, '0')}`;

/** Types whose values are several flags at once, of which a rule looks at some. */
const FLAGS: Partial<Record<ValueType, readonly string[]>> = {
  ct_state: ['invalid', 'established', 'related', 'new', 'untracked'],
  ct_status: ['expected', 'seen-reply', 'assured', 'confirmed', 'snat', 'dnat', 'dying'],
};

/** Is it a type of flags? */
export const isFlags = (type: ValueType): boolean => FLAGS[type] !== undefined;

/** Why this is no value of that type as nft prints it; null where it is one. */
export function whyNoValue(type: ValueType, value: string, prefixes: boolean): string | null {
  switch (type) {
    case 'ifname':
      return whyNoLinkName(value);
    case 'ether_addr':
      return /^[0-9a-f]{2}(?::[0-9a-f]{2}){5}$/.test(value)
        ? null
        : `"${value}" is no MAC address in lower case, such as 02:70:6c:00:00:01`;
    case 'ipv4_addr':
      return whyNoAddress(value, prefixes);
    case 'inet_service':
      return /^(?:0|[1-9]\d{0,4})$/.test(value) && Number(value) < 65_536 ? null : `"${value}" is no port`;
    case 'mark':
      return /^0x[0-9a-f]{8}$/.test(value)
        ? null
        : `"${value}" is no mark of eight hexadecimal digits, such as 0x504c0003`;
    case 'ct_state':
    case 'ct_status':
      return whyNoWord(FLAGS[type]!, value.split(','));
    case 'ether_type':
    case 'inet_proto':
    case 'fib_addrtype':
      return whyNoWord(WORDS[type]!, [value]);
  }
}

function whyNoWord(words: readonly string[], values: readonly string[]): string | null {
  const odd = values.find((value) => !words.includes(value));
  return odd === undefined ? null : `"${odd}" is none of ${words.join(', ')}`;
}

/** What dev_valid_name takes (net/core/dev.c), but for the quotation mark: nft's language has no way to write one. */
function whyNoLinkName(name: string): string | null {
  const bytes = new TextEncoder().encode(name).length;
  if (bytes === 0 || bytes > LINK_NAME_LENGTH_MAX)
    return `"${name}" is no link's name: 1 to ${LINK_NAME_LENGTH_MAX} bytes`;
  // oxlint-disable-next-line no-control-regex -- they are what must not be in it
  return name === '.' || name === '..' || /[/:\s"\u0000-\u001f\u007f]/.test(name)
    ? `"${name}" is no link's name`
    : null;
}

function whyNoAddress(value: string, prefixes: boolean): string | null {
  try {
    const { address, first, bits } = parsePrefix(value);
    if (!value.includes('/')) return null;
    if (!prefixes) return `"${value}" is a prefix, and only single addresses fit here`;
    if (bits === 32) return `write ${value.slice(0, -3)} without its length, as nft does`;
    return address === first ? null : `"${value}" has bits set beyond its length`;
  } catch (error) {
    if (error instanceof AddressError) return error.message;
    throw error;
  }
}
