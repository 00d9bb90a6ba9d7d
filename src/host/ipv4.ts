/** A dotted IPv4 address, `10.0.0.5`. */
export type Ipv4Address = string;

/** An address and how many of its bits name its network, `10.0.0.5/24`. */
export type Ipv4Prefix = string;

/** Six bytes in lower-case hexadecimal, `02:70:6c:00:00:01`. */
export type MacAddress = string;

/** What somebody wrote is no address, or is not where it must be; the message says what would do. */
export class AddressError extends Error {
  override readonly name = 'AddressError';
}

/** A prefix taken apart. Numbers are unsigned, 0 to 2^32 - 1. */
export interface Segment {
  /** The address itself, as a number. */
  readonly address: number;
  readonly bits: number;
  /** The lowest address of the network, which names it. */
  readonly first: number;
  /** The highest, its broadcast address. */
  readonly last: number;
}

const DOTTED = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/;

/** An address as a number. @throws AddressError */
export function parseAddress(text: string): number {
  const parts = DOTTED.exec(text)?.slice(1).map(Number);
  if (parts === undefined || parts.some((part) => part > 255))
    throw new AddressError(`"${text}" is not an IPv4 address: write one like 10.0.0.5`);
  return ((parts[0]! << 24) | (parts[1]! << 16) | (parts[2]! << 8) | parts[3]!) >>> 0;
}

/** A number as an address. */
export const formatAddress = (address: number): Ipv4Address =>
  `${address >>> 24}.${(address >>> 16) & 255}.${(address >>> 8) & 255}.${address & 255}`;

/** `10.0.0.5/24` taken apart; a bare address counts as `/32`. @throws AddressError */
export function parsePrefix(text: string): Segment {
  const [written = '', length = '32', ...rest] = text.split('/');
  const bits = Number(length);
  if (rest.length > 0 || !/^\d{1,2}$/.test(length) || bits > 32)
    throw new AddressError(`"${text}" is not an IPv4 prefix: write one like 10.0.0.0/24`);
  const address = parseAddress(written);
  const mask = bits === 0 ? 0 : (0xffff_ffff << (32 - bits)) >>> 0;
  return { address, bits, first: (address & mask) >>> 0, last: (address | (~mask >>> 0)) >>> 0 };
}

/** Is this address in that network? @throws AddressError */
export function isWithin(address: Ipv4Address, prefix: Ipv4Prefix): boolean {
  const number = parseAddress(address);
  const { first, last } = parsePrefix(prefix);
  return number >= first && number <= last;
}

/** Do two networks share an address? @throws AddressError */
export function overlaps(a: Ipv4Prefix, b: Ipv4Prefix): boolean {
  const [left, right] = [parsePrefix(a), parsePrefix(b)];
  return left.first <= right.last && right.first <= left.last;
}
