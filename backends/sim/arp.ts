import { addressTowards, fibOf, isLocal, routeTo } from './fib.ts';
import { transmit } from './frames.ts';
import type { Journey } from './journey.ts';
import { addressText, BROADCAST, type Link } from './network.ts';
import { ETHER_ARP, type Packet } from './packet.ts';

/** A neighbour is believed no longer than this without being asked again (base_reachable_time_ms, Documentation/networking/ip-sysctl.rst). */
const REACHABLE_MS = 30_000;

/**
 * The MAC for an address on a link: a permanent neighbour's, one remembered, or what ARP finds. Null: nobody's. What is
 * remembered may be wrong by now: then what is sent goes to where the address was before.
 */
export function resolve(journey: Journey, link: Link, address: number, source: number): number | null {
  const permanent = link.neighbours.get(address);
  if (permanent !== undefined) return permanent;
  if (link.type === 'loopback') return link.mac;
  const learned = learnedBy(link).get(address);
  if (learned !== undefined) return learned;
  const sender = isLocal(fibOf(link.space), source) ? source : (addressTowards(link, address) ?? 0);
  const nobodys = unansweredOf(link, sender);
  // Where words are wanted, a question without answer is asked again.
  if (nobodys.has(address) && !journey.telling) return null;
  introduce(journey, link, sender);
  const mac = ask(journey, link, address, sender);
  if (mac === null) nobodys.add(address);
  else learn(link, address, mac);
  return mac;
}

/** All that a link remembers is forgotten together: at the latest when the kernel would ask again. */
function learnedBy(link: Link): Map<number, number> {
  const { nowMs } = link.space.host.network.clock;
  if (nowMs - link.learnedSinceMs >= REACHABLE_MS) {
    link.learned.clear();
    link.learnedSinceMs = nowMs;
  }
  return link.learned;
}

function learn(link: Link, address: number, mac: number): void {
  const { everLearned } = link.space.host.network;
  learnedBy(link).set(address, mac);
  const macs = everLearned.get(address);
  if (macs === undefined) everLearned.set(address, new Set([mac]));
  else macs.add(mac);
}

/** That nobody answers is remembered as long as nothing changes. */
function unansweredOf(link: Link, sender: number): Set<number> {
  const { revision } = link.space.host.network;
  if (link.unanswered?.revision !== revision) link.unanswered = { revision, bySender: new Map() };
  let nobodys = link.unanswered.bySender.get(sender);
  if (nobodys === undefined) link.unanswered.bySender.set(sender, (nobodys = new Set<number>()));
  return nobodys;
}

/**
 * A question comes to all on the link, and whoever remembers its sender by another MAC takes the new one. It is sent only
 * where somebody may answer (see fdb.ts); where the sender's address was ever another's, all are told once.
 */
function introduce(journey: Journey, link: Link, sender: number): void {
  if (link.introduced.get(sender) === link.mac) return;
  const macs = link.space.host.network.everLearned.get(sender);
  if (macs === undefined || (macs.size === 1 && macs.has(link.mac))) return;
  link.introduced.set(sender, link.mac);
  transmit(journey, link, message(journey, true, link, BROADCAST, sender, sender));
}

function ask(journey: Journey, link: Link, address: number, sender: number): number | null {
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
  return journey.answer;
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
  packet.mark = 0;
  packet.flow = null;
  packet.prerouted = false;
  return packet;
}

/** Tells everybody on a link, and beyond it, that an address is at its MAC (RFC 5227, 2.3). */
export function announce(journey: Journey, link: Link, address: number): void {
  journey.begin(false);
  transmit(journey, link, message(journey, true, link, BROADCAST, address, address));
}

/** The stack got an ARP message (arp_process, net/ipv4/arp.c): what it knew of the sender is put right, whoever was meant. */
export function takeArp(journey: Journey, link: Link, packet: Packet): void {
  if (link.learned.has(packet.source)) learn(link, packet.source, packet.sourceMac);
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
