import { resolve } from './arp.ts';
import { fibOf, isLocal, routeTo, sourceFor } from './fib.ts';
import { transmit } from './frames.ts';
import { passInet } from './hooks.ts';
import type { Journey } from './journey.ts';
import { addressText, ZERO_MAC, type Link, type Route, type Space } from './network.ts';
import { VXLAN_BYTES, type Packet } from './packet.ts';

/**
 * Sends a packet from a namespace's own stack. `bound`: the address that its route is looked up with, 0 for none. A
 * packet without a source gets one by its route. False: it never left, and the journey knows why.
 */
export function originate(journey: Journey, space: Space, packet: Packet, bound: number): boolean {
  const fib = fibOf(space);
  if (bound !== 0 && !isLocal(fib, bound)) {
    if (journey.telling) journey.why = `${addressText(bound)} is no address of ${space.label}`;
    return false;
  }
  const toSelf = isLocal(fib, packet.destination);
  let route = toSelf ? null : routeTo(fib, packet.destination, bound);
  if (!toSelf && route === null) return noRoute(journey, space, packet);
  if (packet.source === 0) {
    packet.source = (route === null ? packet.destination : sourceFor(route, packet.destination)) ?? 0;
    // A connected socket's route is looked up again by the address that it got (ip_route_connect).
    if (route !== null) route = routeTo(fib, packet.destination, packet.source);
  }
  const { host } = space;
  if (space !== host.own || (host.filter === null && journey.tally === null))
    return leave(journey, space, packet, route);
  const { destination } = packet;
  packet.iif = 0;
  packet.oif = (route?.link ?? space.loopback).nameId;
  if (!passInet(journey, host, 'output', packet, null, 0)) return false;
  if (packet.destination !== destination) {
    const isOwn = isLocal(fib, packet.destination);
    route = isOwn ? null : routeTo(fib, packet.destination, packet.source);
    if (!isOwn && route === null) return noRoute(journey, space, packet);
  }
  return leave(journey, space, packet, route);
}

function noRoute(journey: Journey, space: Space, packet: Packet): false {
  if (journey.telling) journey.why = `no route to ${addressText(packet.destination)} in ${space.label} (ENETUNREACH)`;
  return false;
}

function leave(journey: Journey, space: Space, packet: Packet, route: Route | null): boolean {
  const out = route?.link ?? space.loopback;
  if (tooLarge(journey, packet, out)) return false;
  return route === null
    ? postRoute(journey, packet, out, packet.destination)
    : postRoute(journey, packet, out, route.via ?? packet.destination);
}

/** Is it larger than the link it goes out by takes, and not to be cut? Whoever sent it hears of it. */
export function tooLarge(journey: Journey, packet: Packet, out: Link): boolean {
  if (packet.bytes <= out.mtu) return false;
  // A VXLAN that is a bridge's port answers for the way that its frames take (skb_tunnel_check_pmtu).
  if (!(packet.inner === null ? packet : packet.inner).dontFragment) return false;
  journey.roomBytes = out.mtu - (packet.inner === null ? 0 : VXLAN_BYTES);
  if (journey.telling)
    journey.why = `too large for ${out.label} (${packet.bytes} > ${out.mtu}): its sender is told (EMSGSIZE)`;
  return true;
}

/** The last of the stack's way: postrouting, the next hop's MAC, and out. False: it did not leave. */
export function postRoute(journey: Journey, packet: Packet, out: Link, nextHop: number): boolean {
  const { space } = out;
  if (space === space.host.own) {
    packet.oif = out.nameId;
    if (!passInet(journey, space.host, 'postrouting', packet, out, nextHop)) return false;
  }
  const mac = out.type === 'loopback' ? ZERO_MAC : resolve(journey, out, nextHop, packet.source);
  if (mac === null) return false;
  packet.sourceMac = out.mac;
  packet.destMac = mac;
  transmit(journey, out, packet);
  return true;
}
