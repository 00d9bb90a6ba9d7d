import type { MacAddress } from '../host/ipv4.ts';

/** Every link that Plimsoll makes in a host's own namespace is called so: b a bridge, p a port, x a VXLAN. */
const LINK_OF_OURS = /^pl[bpx]-/;

/** The beginning of every alias that Plimsoll gives. */
const MARK = 'plimsoll';

/** Is this a link of Plimsoll's? By its alias, or by its name where a crash came between making and marking it. */
export const isOurs = ({ name, alias }: { readonly name: string; readonly alias: string }): boolean =>
  alias.startsWith(`${MARK} `) || LINK_OF_OURS.test(name);

/** A host's bridge of this network. */
export const bridgeName = (network: string): string => `plb-${digest(network)}`;

/** A host's end of this network's tunnels. */
export const vxlanName = (network: string): string => `plx-${digest(network)}`;

/** The host's end of a container's interface. */
export const portName = (network: string, container: string): string => `plp-${digest(`${network}/${container}`)}`;

/** What a VF's link is called while another has the name that it is to have. */
export const passingName = (vf: string): string => `plv-${digest(vf)}`;

/** The mark of a network's own links. */
export const networkAlias = (network: string): string => `${MARK} network ${network}`;

/** The mark of both ends of a container's interface. */
export const endpointAlias = (network: string, container: string): string => `${MARK} endpoint ${network} ${container}`;

/** Of which network and container an alias is the mark; null where it is none of an endpoint's. */
export function endpointOf(alias: string): { readonly network: string; readonly container: string } | null {
  const [mark, kind, network, container] = alias.split(' ');
  if (mark !== MARK || kind !== 'endpoint' || network === undefined || container === undefined) return null;
  return { network, container };
}

/** A locally administered unicast address by its label; `attempt` gives another where one is taken. */
export function macOf(label: string, attempt = 0): MacAddress {
  const salted = attempt === 0 ? label : `${label}#${attempt}`;
  const words = [hash(salted, 0x811c9dc5), hash(salted, 0x9747b28c)];
  const bytes = [0x02, ...words.flatMap((word) => [word >>> 24, (word >>> 16) & 255, (word >>> 8) & 255])];
  return bytes
    .slice(0, 6)
    .map((byte) => byte.toString(16).padStart(2, '0'))
    .join(':');
}

/** 11 characters, so that with the four before them a name has the 15 that the kernel allows; 55 bits. */
function digest(text: string): string {
  const part = (seed: number, length: number): string => hash(text, seed).toString(36).padStart(7, '0').slice(-length);
  return part(0x811c9dc5, 6) + part(0x9747b28c, 5);
}

/** FNV-1a from this offset, its bits spread by the finalizer of MurmurHash3, so that near texts have far hashes. */
function hash(text: string, offset: number): number {
  let value = offset;
  for (const char of text) value = Math.imul(value ^ char.codePointAt(0)!, 0x01000193);
  value = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  value = Math.imul(value ^ (value >>> 13), 0xc2b2ae35);
  return (value ^ (value >>> 16)) >>> 0;
}
