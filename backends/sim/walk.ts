import { Journey } from './journey.ts';
import { addressText, type Network, type Space } from './network.ts';
import { originate } from './originate.ts';
import { ETHER_IP, HEADER_BYTES, type ICMP, UDP, type Packet } from './packet.ts';
import { redirect, stackInput } from './stack.ts';

/** The port that probes are sent from, or the identifier of their ICMP: one of the ephemeral ones. */
export const PROBE_PORT = 40_000;

/** What a UDP answer carries: it is short, whatever was asked. */
const ANSWER_BYTES = 64;

/** What a probe is, in the model's words. */
export interface Question {
  readonly from: Space;
  readonly to: number;
  readonly protocol: typeof UDP | typeof ICMP;
  readonly port: number;
  readonly payloadBytes: number;
  /** 0: the sender's own. */
  readonly forgedSource: number;
  /** What the sender's socket gives its packets (SO_MARK); 0 unless set. */
  readonly mark?: number;
}

/** Something that is to go its way through the network. */
export const createJourney = (network: Network): Journey =>
  new Journey(network, { input: stackInput, originate, redirect });

/**
 * Walks packets through the whole network, synchronously and to the end: namespaces, links, bridges, routes, filters,
 * translation and tunnels, as the kernel's code does it (the files above name the functions). What it leaves out: time,
 * loss, queues, fragments, IPv6, reverse path filters (rp_filter is 0), and, but for what ARP learned, what an earlier packet left behind.
 */
export class Walk {
  readonly #journey: Journey;
  /** Who answered the last question; null: nobody. */
  answeredBy: Space | null = null;
  /** The namespace that the last question came to, and the source it came with. */
  arrivedAt: Space | null = null;
  seenFrom = 0;

  constructor(network: Network) {
    this.#journey = createJourney(network);
  }

  /** Why the last packet ended where it did; only where words were wanted. */
  get why(): string {
    return this.#journey.why;
  }

  /** Sends one packet and walks the answers of all who got it. */
  ask(question: Question, telling: boolean): void {
    const journey = this.#journey;
    journey.begin(telling);
    this.answeredBy = null;
    this.arrivedAt = null;
    this.seenFrom = 0;
    const { from, forgedSource, protocol } = question;
    sendPacket(
      journey,
      from,
      question.to,
      forgedSource,
      0,
      PROBE_PORT,
      question.port,
      question.payloadBytes + HEADER_BYTES,
      protocol,
      question.mark,
    );
    const arrived = journey.delivered;
    for (let index = 0; index < arrived; index++) {
      const { space, source, destination, sourcePort, destPort, bytes } = journey.deliveries[index]!;
      if (protocol === UDP && !listens(space, destPort, question, source, journey)) continue;
      this.arrivedAt ??= space;
      this.seenFrom ||= source;
      if (forgedSource !== 0) {
        if (telling) journey.why = 'it arrived; nobody waits for an answer to a forged address';
        continue;
      }
      const answerBytes = protocol === UDP ? ANSWER_BYTES + HEADER_BYTES : bytes;
      const before = journey.delivered;
      sendPacket(journey, space, source, destination, destination, destPort, sourcePort, answerBytes, protocol);
      if (this.answeredBy === null && this.#hasCome(question, before)) this.answeredBy = space;
      else if (telling && this.answeredBy === null)
        journey.why = `it arrived at ${space.label}; the answer: ${journey.why}`;
    }
    if (telling && this.answeredBy !== null) journey.why = 'answered';
  }

  /** The sender's socket is connected: it hears nobody but whom it asked. */
  #hasCome({ from, to, port }: Question, since: number): boolean {
    const { deliveries, delivered } = this.#journey;
    for (let index = since; index < delivered; index++) {
      const { space, source, sourcePort, destPort } = deliveries[index]!;
      if (space !== from || destPort !== PROBE_PORT) continue;
      if (source === to && sourcePort === port) return true;
      if (this.#journey.telling) this.#journey.why = `it came from ${addressText(source)}, who was not asked`;
    }
    return false;
  }
}

/**
 * Sends one packet from a namespace's own stack. `source` 0: the sender's own; `bound`: the address that its route is looked
 * up with, 0 for none; `bytes` of the IP packet.
 */
export function sendPacket(
  journey: Journey,
  from: Space,
  to: number,
  source: number,
  bound: number,
  sourcePort: number,
  destPort: number,
  bytes: number,
  protocol: number,
  mark = 0,
): void {
  const packet: Packet = journey.packet();
  packet.etherType = ETHER_IP;
  packet.source = source;
  packet.destination = to;
  packet.protocol = protocol;
  packet.sourcePort = sourcePort;
  packet.destPort = destPort;
  packet.ttl = 64;
  packet.bytes = bytes;
  packet.dontFragment = true;
  packet.framed = false;
  packet.inner = null;
  packet.mark = mark;
  packet.flow = null;
  packet.prerouted = false;
  journey.tally?.count(from.host, 'send', packet);
  originate(journey, from, packet, bound);
}

/** Does anybody answer at this port of the namespace? The kernel itself refuses where nobody does. */
function listens(space: Space, port: number, question: Question, source: number, journey: Journey): boolean {
  const listener = space.listeners.get(port);
  if (listener !== undefined) {
    listener.arrived(space, question.to, question.from, source);
    return true;
  }
  if (journey.telling) journey.why = `refused by ${space.label}: nobody answers at UDP port ${port}`;
  return false;
}
