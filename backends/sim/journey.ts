import { Flows } from './conntrack.ts';
import type { HopTally } from './hop-tally.ts';
import type { Link, Network, Space } from './network.ts';
import { Packet } from './packet.ts';

/** More links in a row than any way that leads somewhere has: what goes on so long goes in a ring. */
const DEPTH_MAX = 128;
/** And more in all, where each round of a ring makes two of one. */
const HOPS_MAX = 100_000;

/** A packet that somebody got. */
export interface Delivery {
  space: Space;
  source: number;
  destination: number;
  sourcePort: number;
  destPort: number;
  bytes: number;
}

/** The IP stacks above the links. */
export interface Stack {
  /** A frame came in by a link, and is for its namespace. */
  input(journey: Journey, link: Link, packet: Packet): void;
  /** A packet of a namespace's own; see originate.ts. */
  originate(journey: Journey, space: Space, packet: Packet, bound: number): boolean;
  /** Where a frame belongs that a bridge was to take up, and whose destination was changed before it did. */
  redirect(journey: Journey, bridge: Link, packet: Packet): number;
}

/** One probe under way: its packets and flows, and where it came to. Used again for the next one. */
export class Journey {
  readonly network: Network;
  readonly stack: Stack;
  readonly flows = new Flows();
  /** Are words wanted? Making them costs more than the walk. */
  telling = false;
  /** The last reason for which something of it was dropped. */
  why = '';
  /** What its packets pass is counted here; null, as for most: nowhere. */
  tally: HopTally | null = null;
  /** What the last packet that was too large might have had; 0: none was. */
  roomBytes = 0;
  readonly deliveries: Delivery[] = [];
  delivered = 0;
  /** An ARP question: who asks by which link for what, and what was answered. */
  askedBy: Link | null = null;
  askedFor = 0;
  answer: number | null = null;
  readonly #packets: Packet[] = [];
  #taken = 0;
  #hops = 0;
  #depth = 0;

  constructor(network: Network, stack: Stack) {
    this.network = network;
    this.stack = stack;
  }

  begin(telling: boolean): void {
    this.telling = telling;
    this.goOn();
    this.flows.clear();
  }

  /** Another packet of the same flows. */
  goOn(): void {
    this.why = '';
    this.roomBytes = 0;
    this.delivered = 0;
    this.#taken = 0;
    this.#hops = 0;
    this.#depth = 0;
  }

  /** A packet to fill in. */
  packet(): Packet {
    return (this.#packets[this.#taken++] ??= new Packet());
  }

  copy(packet: Packet): Packet {
    return this.packet().copyFrom(packet);
  }

  /** Has no other packet been taken since, as a copy of it or to ask something on its way? */
  isLatest(packet: Packet): boolean {
    return this.#packets[this.#taken - 1] === packet;
  }

  /** Goes out by one more link; `leave` when all that comes of it is over. False: it goes in a ring. */
  enter(): boolean {
    if (this.#depth < DEPTH_MAX && this.#hops < HOPS_MAX) {
      this.#depth++;
      this.#hops++;
      return true;
    }
    if (this.telling) this.why = `it goes round and round, over more than ${DEPTH_MAX} links`;
    return false;
  }

  leave(): void {
    this.#depth--;
  }

  deliver(space: Space, packet: Packet): void {
    const { source, destination, sourcePort, destPort, bytes } = packet;
    const delivery = this.deliveries[this.delivered];
    if (delivery === undefined) this.deliveries.push({ space, source, destination, sourcePort, destPort, bytes });
    else {
      delivery.space = space;
      delivery.source = source;
      delivery.destination = destination;
      delivery.sourcePort = sourcePort;
      delivery.destPort = destPort;
      delivery.bytes = bytes;
    }
    this.delivered++;
  }
}
