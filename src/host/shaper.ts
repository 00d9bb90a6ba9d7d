import type { Applied } from './batch.ts';
import type { LinkName } from './links.ts';

/**
 * The major number of every handle that Plimsoll gives (tc(8): `504c:`, the letters PL), and the upper half of every mark
 * by which it classifies. Not one that the kernel or a person at a shell would come upon.
 */
export const SHAPER_MAJOR = 0x50_4c;

/** Classes of one qdisc: minors 1 to 0xfffe; 0 is the qdisc itself and 0xffff the kernel's own (include/uapi/linux/pkt_sched.h). */
export const CLASS_MINOR_MAX = 0xff_fe;

/** The mark that sends a packet to the class of this minor: `0x504c0003`, as nft writes it. */
export const markOf = (minor: number): string => `0x${SHAPER_MAJOR.toString(16)}${minor.toString(16).padStart(4, '0')}`;

/** The minor of the class that a mark of Plimsoll's sends packets to; null for a mark of somebody else's. */
export function minorOf(mark: string): number | null {
  const number = Number(mark);
  return number >>> 16 === SHAPER_MAJOR && (number & 0xff_ff) !== 0 ? number & 0xff_ff : null;
}

/** The root qdisc of a link, an HTB of handle `504c:` (tc-htb(8)). */
export interface ShaperQdisc extends LinkName {
  readonly kind: 'qdisc';
  /** The class of what nothing else classifies; 0: such packets pass unshaped. */
  readonly defaultMinor: number;
}

/** A class of that qdisc. Rates are of bytes on the wire with their Ethernet header, as the kernel counts them. */
export interface ShaperClass extends LinkName {
  readonly kind: 'class';
  readonly minor: number;
  /** 0: right under the qdisc. */
  readonly parentMinor: number;
  /** What it is given whatever the others want. */
  readonly rateBitsPerSec: number;
  /** What it may borrow up to. */
  readonly ceilBitsPerSec: number;
  /** What may pass at once at its rate, and at its ceiling. */
  readonly burstBytes: number;
  readonly ceilBurstBytes: number;
  /** What it sends in its turn while several borrow. */
  readonly quantumBytes: number;
  /** Packets wait in an fq_codel (tc-fq_codel(8)), not in a FIFO of a thousand: only of a class without children. */
  readonly fairQueue: boolean;
}

/** Of the kernel's scheduling clock: it keeps a burst as the time that it takes at its rate (PSCHED_SHIFT in include/net/pkt_sched.h). */
const TICKS_PER_SEC = 1_000_000_000n / 64n;
const TICKS_MAX = 0xff_ff_ff_ffn;

/** The whole ticks that these bytes take at least; no more than an HTB holds. */
export function burstTicks(burstBytes: number, rateBitsPerSec: number): number {
  const bytesPerSec = BigInt(Math.floor(rateBitsPerSec / 8));
  const ticks = (BigInt(Math.ceil(burstBytes)) * TICKS_PER_SEC + bytesPerSec - 1n) / bytesPerSec;
  return Number(ticks < TICKS_MAX ? ticks : TICKS_MAX);
}

/** The whole bytes that pass in these ticks. */
export const burstOfTicks = (ticks: number, rateBitsPerSec: number): number =>
  Number((BigInt(ticks) * BigInt(Math.floor(rateBitsPerSec / 8))) / TICKS_PER_SEC);

/**
 * A class in the numbers that the kernel holds, which are those that `list` tells: rates in whole bytes a second, rounded
 * down; a burst in whole ticks of 64 ns, rounded up, so that above 125 Mbit/s not every number of bytes is one. What is held
 * is held as it is.
 */
export function heldClass(asked: ShaperClass): ShaperClass {
  const [rateBitsPerSec, ceilBitsPerSec] = [asked.rateBitsPerSec, asked.ceilBitsPerSec].map(
    (rate) => rate - (rate % 8),
  );
  return {
    ...asked,
    rateBitsPerSec: rateBitsPerSec!,
    ceilBitsPerSec: ceilBitsPerSec!,
    burstBytes: heldBurst(asked.burstBytes, rateBitsPerSec!),
    ceilBurstBytes: heldBurst(asked.ceilBurstBytes, ceilBitsPerSec!),
  };
}

const heldBurst = (bytes: number, rate: number): number => burstOfTicks(burstTicks(bytes, rate), rate);

/** The one filter: a packet whose mark has `SHAPER_MAJOR` above goes to the class whose minor is below. */
export interface ShaperFilter extends LinkName {
  readonly kind: 'filter';
}

/** An object of tc's that Plimsoll makes. */
export type ShaperObject = ShaperQdisc | ShaperClass | ShaperFilter;

/** A root qdisc that somebody else laid on a link (one with a handle; what the kernel attaches by itself has none). */
export interface ForeignQdisc extends LinkName {
  /** As tc calls it: `htb`, `tbf`, `mq`. */
  readonly type: string;
  /** `1:`, as tc writes it. */
  readonly handle: string;
}

/** What is on the links of some namespaces, read back. */
export interface ShaperState {
  /** Plimsoll's own, in order of `shaperKey`. Another kind of qdisc, class or filter under its handle is not told. */
  readonly objects: readonly ShaperObject[];
  readonly foreign: readonly ForeignQdisc[];
}

/** What passed a class since it is there. */
export interface ClassCounters extends LinkName {
  readonly minor: number;
  readonly sentBytes: number;
  readonly sentPackets: number;
  readonly droppedPackets: number;
}

/** Queueing disciplines, classes and filters: what leaves by a link, and how fast. */
export interface Shaper {
  /**
   * In the order given: a qdisc before its classes, a class before those under it. One that is there is left as it is, and
   * a class with other numbers takes these, as `heldClass` rounds them. ENODEV: no such link or namespace. EEXIST: the link's
   * root qdisc is somebody else's; one of ours has another default, or a class another parent: neither can be changed.
   * ENOENT: a class or filter of a qdisc that is not there, or a parent that is not. ERANGE: a minor out of range. EINVAL: a
   * rate, burst or quantum of nothing (the least rate is 8 bit/s), a ceiling below the rate, or a fair queue for a class with
   * others under it. EBUSY: another quantum for a class with others under it. EOPNOTSUPP: what this kernel cannot.
   */
  add(objects: readonly ShaperObject[]): Promise<Applied>;
  /** One that is gone already, or whose link is, is no error; a qdisc goes with all in it. EBUSY: a class with others under it. */
  remove(objects: readonly ShaperObject[]): Promise<Applied>;
  /** Of one that is not there, nothing. */
  list(links: readonly LinkName[]): Promise<ShaperState>;
  /** Of all Plimsoll's classes on these links, in order of link and minor. */
  counters(links: readonly LinkName[]): Promise<readonly ClassCounters[]>;
  /** Can classes have a fair queue on this kernel? It does not change while the kernel runs. */
  hasFairQueues(): Promise<boolean>;
}

/** An object as one string: what stands in the same place has the same key. */
export function shaperKey(object: ShaperObject): string {
  const at = object.namespace === '' ? object.name : `${object.namespace}: ${object.name}`;
  const handle = SHAPER_MAJOR.toString(16);
  switch (object.kind) {
    case 'qdisc':
      return `qdisc htb ${handle}: dev ${at}`;
    case 'class':
      return `class htb ${handle}:${object.minor.toString(16)} dev ${at}`;
    case 'filter':
      return `filter by mark ${handle}: dev ${at}`;
  }
}
