import { SHAPER_MAJOR, type ShaperClass } from '../../src/host/shaper.ts';
import type { Packet } from './packet.ts';

/** Ethernet's header (ETH_HLEN), which a qdisc counts with a packet. */
export const ETHERNET_BYTES = 14;

/** A root qdisc that somebody else laid: what passes it is not ours to count. */
export interface ForeignRoot {
  /** As tc calls it, and its handle as tc writes it. */
  readonly type: string;
  readonly handle: string;
}

/** What a link's packets pass on their way out, where somebody laid it. */
export type Qdisc = ForeignRoot | Htb;

/** A class of ours: its numbers, what hangs under it, and what passed it. */
export interface HtbClass {
  numbers: ShaperClass;
  readonly parent: HtbClass | null;
  childCount: number;
  sentBytes: number;
  sentPackets: number;
  droppedPackets: number;
}

/** The root qdisc of Plimsoll's. A packet that walks is counted in it, and never held back or dropped: see traffic.ts for streams. */
export class Htb {
  readonly type = 'htb';
  readonly defaultMinor: number;
  readonly classes = new Map<number, HtbClass>();
  hasFilter = false;

  constructor(defaultMinor: number) {
    this.defaultMinor = defaultMinor;
  }
}

/**
 * Counts a packet that leaves by the link, in its class and all above (htb_classify, htb_charge_class: net/sched/sch_htb.c).
 * What no class without others under it takes passes directly, uncounted.
 */
export function classify(qdisc: Qdisc, packet: Packet): void {
  if (!(qdisc instanceof Htb)) return;
  // What is counted on its way takes it each time: see trips.ts.
  packet.trip = null;
  charge(classOf(qdisc, packet.mark), 1, packet.bytes);
}

/** Counts so many packets of so many bytes in a class and all above. */
export function charge(into: HtbClass | null, packets: number, bytes: number): void {
  for (let at = into; at !== null; at = at.parent) {
    at.sentBytes += packets * (bytes + ETHERNET_BYTES);
    at.sentPackets += packets;
  }
}

/** The class of what bears this mark; null: it is in none. */
export function classOf({ classes, defaultMinor, hasFilter }: Htb, mark: number): HtbClass | null {
  // None has minor 0.
  const chosen = hasFilter && mark >>> 16 === SHAPER_MAJOR ? classes.get(mark & 0xff_ff) : undefined;
  if (chosen?.childCount === 0) return chosen;
  const fallback = classes.get(defaultMinor);
  return fallback?.childCount === 0 ? fallback : null;
}
