import { addressTowards, fibOf, isLocal, routeTo } from './fib.ts';
import { transmit } from './frames.ts';
import type { Journey } from './journey.ts';
import { addressText, BROADCAST, type Link } from './network.ts';
import { ETHER_ARP, type Packet } from './packet.ts';

/**
 * The MAC for an address on a link: a permanent neighbour's, or what ARP finds. Null: nobody's.
 * What the kernel learns besides changes nothing: whoever could ask a moment ago is answered now.
 */
export function resolve(journey: Journey, link: Link, address: number, source: number): number | null {
  const permanent = link.neighbours.get(address);
  if (permanent !== undefined) return permanent;
  if (link.type === 'loopback') return link.mac;
  const sender = isLocal(fibOf(link.space), source) ? source : (addressTowards(link, address) ?? 0);
  const answers = answersTo(link, sender);
  let mac = answers.get(address);
  // Where words are wanted, a question without answer is asked again.
  if (mac === undefined || (mac === NOBODY && journey.telling))
    answers.set(address, (mac = ask(journey, link, address, sender)));
  return mac === NOBODY ? null : mac;
}

const NOBODY = -1;

/** Answers are remembered as long as nothing changes. */
function answersTo(link: Link, sender: number): Map<number, number> {
  const { revision } = link.space.host.network;
  if (link.arp?.revision !== revision) link.arp = { revision, bySender: new Map() };
  let answers = link.arp.bySender.get(sender);
  if (answers === undefined) link.arp.bySender.set(sender, (answers = new Map<number, number>()));
  return answers;
}

function ask(journey: Journey, link: Link, address: number, sender: number): number {
  journey.askedBy = link;
  journey.askedFor = address;
  journey.answer = null;
  journey.why = '';
  transmit(journey, link, message(journey, true, link, BROADCAST, sender, address));
  journey.askedBy = null;
  if (journey.telling && journey.answer === null) {
    const nobody = `nobody has ${addressText(address)}, asked from ${link.label}`;
    journey.why = journey.why === '' ? nobody : `${nobody}: ${journey.why}`;
  }
  return journey.answer ?? NOBODY;
}

function message(
  journey: Journey,
  request: boolean,
  link: Link,
  destMac: number,
  source: number,
  destination: number,
): Packet {
  const packet = journey.packet();
  packet.etherType = ETHER_ARP;
  packet.request = request;
  packet.sourceMac = link.mac;
  packet.destMac = destMac;
  packet.source = source;
  packet.destination = destination;
  // An ARP message over Ethernet (RFC 826).
  packet.bytes = 28;
  packet.inner = null;
  packet.flow = null;
  packet.prerouted = false;
  return packet;
}

/** The stack got an ARP message (arp_process, net/ipv4/arp.c). */
export function takeArp(journey: Journey, link: Link, packet: Packet): void {
  if (packet.request) {
    if (answers(link, packet))
      transmit(journey, link, message(journey, false, link, packet.sourceMac, packet.destination, packet.source));
  } else if (link === journey.askedBy && packet.source === journey.askedFor && journey.answer === null) {
    journey.answer = packet.sourceMac;
  }
}

/** Any of the namespace's addresses is answered for on any link (arp_ignore 0); a proxy entry for what lies behind another link. */
function answers(link: Link, { source, destination }: Packet): boolean {
  const fib = fibOf(link.space);
  if (fib.local.has(source)) return false;
  if (fib.local.has(destination)) return true;
  if (!link.forwarding || !link.proxies.has(destination)) return false;
  const route = routeTo(fib, destination, source);
  return route !== null && route.link !== link;
}
