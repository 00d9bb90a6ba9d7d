import { isJoined, takersOf } from './fabric.ts';
import { portsForAll, wayTo, type Way } from './fdb.ts';
import { passBridge, passForeign, passInet } from './hooks.ts';
import type { Journey } from './journey.ts';
import { addressText, BROADCAST, ZERO_MAC, type Link } from './network.ts';
import { classify } from './qdisc.ts';
import { remember, tripTo } from './trips.ts';
import { ETHER_ARP, ETHER_IP, UDP, VXLAN_BYTES, type Packet } from './packet.ts';

/** What a veth's other end takes over its MTU: room for one VLAN tag (is_skb_forwardable, net/core/dev.c; measured). */
const VLAN_TAG_BYTES = 4;

/** Sends a frame out by a link. */
export function transmit(journey: Journey, link: Link, packet: Packet): void {
  if (!link.up) return drop(journey, isDown, link, packet);
  if (!journey.enter()) return;
  packet.framed = true;
  goOut(journey, link, packet);
  journey.leave();
}

function goOut(journey: Journey, link: Link, packet: Packet): void {
  if (journey.tally !== null) journey.tally.leave(link, packet);
  else if (link.qdisc !== null) classify(link.qdisc, packet);
  switch (link.type) {
    case 'veth':
      return toOtherEnd(journey, link, link.peer!, packet);
    case 'bridge':
      // Its own stack sends: the bridge finds the port.
      if (packet.destMac === BROADCAST) return spread(journey, link, null, packet);
      return follow(journey, link, null, packet, wayTo(link, packet.destMac));
    case 'vxlan':
      return encapsulate(journey, link, packet);
    case 'macvlan':
      return fromMacvlan(journey, link, packet);
    case 'loopback':
      return receive(journey, link, packet);
    case 'other':
      return overFabric(journey, link, packet);
  }
}

/** A frame has come in by a link. */
function receive(journey: Journey, link: Link, packet: Packet): void {
  if (!link.up) return drop(journey, isDown, link, packet);
  packet.framed = true;
  if (link.master !== null) return throughBridge(journey, link.master, link, packet);
  if (link.children.length > 0 && toMacvlans(journey, link, null, packet)) return;
  // Frames to other MACs are seen and left (PACKET_OTHERHOST).
  if (packet.destMac === BROADCAST || packet.destMac === link.mac) journey.stack.input(journey, link, packet);
}

/** Why a link drops a packet, in words. */
type Why = (at: Link, packet: Packet) => string;

/** The reasons are functions that capture nothing: one that does is made anew with every frame, dropped or not. */
function drop(journey: Journey, why: Why, at: Link, packet: Packet): void {
  if (journey.telling) journey.why = why(at, packet);
}

const isDown: Why = (at) => `${at.label} is down`;
const hasNoCarrier: Why = (at) => `${at.label} has no carrier`;
const isSpoofed: Why = (at, { sourceMac }) =>
  `the card of ${at.label} lets it send nothing from the MAC ${at.space.host.network.macs.text(sourceMac)} (spoofchk)`;
const vanishes: Why = (at, { bytes }) => `too large for ${at.label} (${bytes} > ${at.mtu}): it vanishes`;
const macOf: Why = (at, { destMac }) => `the MAC ${at.space.host.network.macs.text(destMac)}`;
const nobodyOnFabric: Why = (at, packet) => `nobody on the fabric has ${macOf(at, packet)}`;
const nobodyBehind: Why = (at, packet) => `nobody behind ${at.label} has ${macOf(at, packet)}`;
const wouldSendBack: Why = (at) => `${at.master!.label} would send it back out of ${at.name}`;
const knowsNoHost: Why = (at, packet) => `${at.label} knows no host for ${macOf(at, packet)}`;
const knowsNoNeighbour: Why = (at, { destination }) => `${at.label} knows no neighbour ${addressText(destination)}`;

/**
 * Whatever a link hangs on, a new namespace or a tunnel's end: what was known of the packet's flow is forgotten, and from
 * one namespace to another its mark too (skb_scrub_packet, net/core/skbuff.c).
 */
function scrub(packet: Packet, from: Link, to: Link): void {
  if (from.space !== to.space) packet.mark = 0;
  packet.flow = null;
  packet.prerouted = false;
}

function toOtherEnd(journey: Journey, link: Link, peer: Link, packet: Packet): void {
  if (!peer.up) return drop(journey, isDown, peer, packet);
  if (packet.bytes > peer.mtu + VLAN_TAG_BYTES) return drop(journey, vanishes, peer, packet);
  scrub(packet, link, peer);
  journey.tally?.arrive(peer, packet);
  receive(journey, peer, packet);
}

function overFabric(journey: Journey, link: Link, packet: Packet): void {
  const { vf } = link;
  if (!link.carrier) return drop(journey, hasNoCarrier, link, packet);
  if (vf !== null && vf.knobs.spoofCheck && !vf.owns(packet.sourceMac)) return drop(journey, isSpoofed, link, packet);
  // No wire carries it, not even to another link of the same host's.
  packet.mark = 0;
  const takers = takersOf(link, packet.destMac);
  let isTaken = false;
  const several = takers.length > 1 && packet.etherType === ETHER_IP;
  for (const taker of takers) {
    if (taker === link || !isJoined(link, taker)) continue;
    isTaken = true;
    if (taker.up && !taker.carrier) drop(journey, hasNoCarrier, taker, packet);
    else toOtherEnd(journey, link, taker, several ? journey.copy(packet) : packet);
  }
  if (!isTaken && packet.destMac !== BROADCAST) drop(journey, nobodyOnFabric, link, packet);
}

/**
 * Siblings and the wire hear a macvlan; its parent does not (drivers/net/macvlan.c, bridge mode). Out by the wire a packet
 * keeps the mark that its sender gave it (measured).
 */
function fromMacvlan(journey: Journey, link: Link, packet: Packet): void {
  const parent = link.parent!;
  if (toMacvlans(journey, parent, link, packet)) return;
  transmit(journey, parent, packet);
}

/** Gives a frame to the macvlans that it is for. True: it was for one of them alone. */
function toMacvlans(journey: Journey, parent: Link, from: Link | null, packet: Packet): boolean {
  if (packet.destMac === BROADCAST) {
    for (const child of parent.children) if (child !== from && child.up) receive(journey, child, journey.copy(packet));
    return false;
  }
  const { destMac } = packet;
  const child = parent.children.find(({ mac }) => mac === destMac);
  if (child === undefined || child === from) return false;
  // From its parent it is taken over as it is (macvlan_handle_frame).
  scrub(packet, from ?? child, child);
  if (from === null) journey.tally?.count(child.space.host, 'macvlan', packet);
  if (child.up) receive(journey, child, packet);
  else drop(journey, isDown, child, packet);
  return true;
}

/** A frame that came in by a port of a bridge (br_handle_frame). */
function throughBridge(journey: Journey, bridge: Link, port: Link, packet: Packet): void {
  const { host } = bridge.space;
  if (!bridge.up) return drop(journey, isDown, bridge, packet);
  journey.tally?.count(host, 'bridge', packet);
  const isHosts = bridge.space === host.own;
  if (isHosts) {
    packet.iif = port.nameId;
    packet.oif = 0;
    if (!passBridge(journey, host, 'prerouting', packet)) return;
    if (host.beside.bridgeNfCallIptables && packet.etherType === ETHER_IP) {
      journey.tally?.count(host, 'bridgeCall', packet);
      packet.iif = bridge.nameId;
      const { destination } = packet;
      if (!passInet(journey, host, 'prerouting', packet, null, 0)) return;
      packet.prerouted = true;
      if (packet.destination !== destination) packet.destMac = journey.stack.redirect(journey, bridge, packet);
    }
  }
  if (packet.destMac === BROADCAST) {
    // What is flooded waits in the other ends' queues, the bridge's own stack is served at once: its answer is the first (measured).
    passUp(journey, bridge, journey.copy(packet));
    spread(journey, bridge, port, packet);
    return;
  }
  const way = wayTo(bridge, packet.destMac);
  if (way.isOwn) return passUp(journey, bridge, packet);
  if (way.isAbove) toMacvlans(journey, bridge, null, journey.copy(packet));
  follow(journey, bridge, port, packet, way);
}

function passUp(journey: Journey, bridge: Link, packet: Packet): void {
  const { host } = bridge.space;
  if (bridge.space === host.own) {
    packet.oif = 0;
    if (!passBridge(journey, host, 'input', packet)) return;
  }
  if (bridge.children.length > 0 && toMacvlans(journey, bridge, null, packet)) return;
  journey.stack.input(journey, bridge, packet);
}

/** Sends a frame that is for everybody out by all ports but the one it came by. */
function spread(journey: Journey, bridge: Link, from: Link | null, packet: Packet): void {
  for (const port of portsForAll(bridge, packet, journey.telling))
    if (port !== from || port.hairpin) outOf(journey, bridge, from, port, journey.copy(packet));
}

/** Sends a frame out by the port that the FDB names, or by all that may lead to its MAC. */
function follow(journey: Journey, bridge: Link, from: Link | null, packet: Packet, { known, ports }: Way): void {
  if (known !== null) {
    if (known !== from || known.hairpin) outOf(journey, bridge, from, known, packet);
    else drop(journey, wouldSendBack, known, packet);
    return;
  }
  let last: Link | null = null;
  for (const port of ports) {
    if (port === from && !port.hairpin) continue;
    if (last !== null) outOf(journey, bridge, from, last, journey.copy(packet));
    last = port;
  }
  if (last !== null) outOf(journey, bridge, from, last, packet);
  else drop(journey, nobodyBehind, bridge, packet);
}

function outOf(journey: Journey, bridge: Link, from: Link | null, port: Link, packet: Packet): void {
  const { host } = bridge.space;
  if (!port.up) return drop(journey, isDown, port, packet);
  if (bridge.space === host.own) {
    packet.iif = from === null ? 0 : from.nameId;
    packet.oif = port.nameId;
    if (!passBridge(journey, host, from === null ? 'output' : 'forward', packet)) return;
    if (from !== null && host.beside.bridgeNfCallIptables && packet.etherType === ETHER_IP) {
      packet.iif = packet.oif = bridge.nameId;
      if (!passInet(journey, host, 'forward', packet, null, 0)) return;
      if (!passForeign(journey, host, bridge, bridge, packet)) return;
      if (!passInet(journey, host, 'postrouting', packet, bridge, packet.destination)) return;
      packet.oif = port.nameId;
    }
    if (!passBridge(journey, host, 'postrouting', packet)) return;
  }
  // A bridge sends no error: it has no address to send it from.
  if (packet.bytes > port.mtu) return drop(journey, vanishes, port, packet);
  transmit(journey, port, packet);
}

/** A VXLAN drops what its FDB does not name, and never lets ARP over: it answers from its permanent neighbours (vxlan_xmit). */
function encapsulate(journey: Journey, link: Link, packet: Packet): void {
  if (packet.etherType === ETHER_ARP) return answerByProxy(journey, link, packet);
  const remote = link.vxlanFdb.get(packet.destMac) ?? link.vxlanFdb.get(ZERO_MAC);
  if (remote === undefined) return drop(journey, knowsNoHost, link, packet);
  scrub(packet, link, link);
  const trip = tripTo(link, remote);
  if (journey.tally === null && trip.end !== null && packet.bytes <= trip.bytes && packet.mark === 0) {
    if (!journey.enter()) return;
    unpack(journey, trip.end, packet);
    return journey.leave();
  }
  const outer = journey.packet();
  outer.etherType = ETHER_IP;
  outer.source = link.local;
  outer.destination = remote;
  outer.protocol = UDP;
  outer.sourcePort = 0;
  outer.destPort = link.udpPort;
  outer.ttl = 64;
  outer.bytes = packet.bytes + VXLAN_BYTES;
  outer.dontFragment = false;
  outer.framed = false;
  outer.inner = packet;
  outer.mark = packet.mark;
  // What filters and classes do by the mark is of this packet alone.
  outer.trip = packet.mark === 0 && journey.tally === null ? trip : null;
  outer.vni = link.vni;
  outer.flow = null;
  outer.prerouted = false;
  if (!journey.stack.originate(journey, link.space, outer, link.local) && journey.telling)
    journey.why += `, where ${link.label} sends to ${addressText(remote)}`;
}

function answerByProxy(journey: Journey, link: Link, question: Packet): void {
  const mac = question.request ? link.neighbours.get(question.destination) : undefined;
  if (mac === undefined) return drop(journey, knowsNoNeighbour, link, question);
  const answer = journey.packet();
  answer.etherType = ETHER_ARP;
  answer.request = false;
  answer.sourceMac = mac;
  answer.destMac = question.sourceMac;
  answer.source = question.destination;
  answer.destination = question.source;
  answer.bytes = 28;
  answer.mark = 0;
  answer.flow = null;
  receive(journey, link, answer);
}

/** A VXLAN's frame has come to its other end. */
export function decapsulate(journey: Journey, link: Link, outer: Packet): void {
  const { inner, trip } = outer;
  if (trip !== null && outer.destPort !== 0 && outer.mark === 0 && journey.isLatest(outer))
    remember(trip, link, inner!);
  inner!.mark = outer.mark;
  journey.tally?.count(link.space.host, 'tunnel', outer);
  unpack(journey, link, inner!);
}

function unpack(journey: Journey, link: Link, packet: Packet): void {
  // Its own frames come back to it only in a ring (vxlan_set_mac).
  if (packet.sourceMac === link.mac) return;
  scrub(packet, link, link);
  receive(journey, link, packet);
}
