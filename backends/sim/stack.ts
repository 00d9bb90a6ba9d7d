import { resolve, takeArp } from './arp.ts';
import { fibOf, isLocal, routeTo, type Fib } from './fib.ts';
import { decapsulate } from './frames.ts';
import { passForeign, passInet } from './hooks.ts';
import type { Journey } from './journey.ts';
import { addressText, type Link, type Space } from './network.ts';
import { postRoute, tooLarge } from './originate.ts';
import { ETHER_ARP, UDP, type Packet } from './packet.ts';

/** What the IP stack of a link's namespace does with a frame that came in there (ip_rcv to ip_local_deliver or ip_forward). */
export function stackInput(journey: Journey, link: Link, packet: Packet): void {
  if (packet.etherType === ETHER_ARP) return takeArp(journey, link, packet);
  const { space } = link;
  const { host } = space;
  const isHosts = space === host.own;
  if (isHosts) {
    packet.iif = link.nameId;
    packet.oif = 0;
    if (!packet.prerouted && !passInet(journey, host, 'prerouting', packet, null, 0)) return;
    packet.prerouted = false;
  }
  const fib = fibOf(space);
  if (link.type !== 'loopback' && isMartian(fib, packet)) {
    if (journey.telling)
      journey.why = `martian: ${addressText(packet.source)} to ${addressText(packet.destination)} came in by ${link.label}`;
    return;
  }
  if (isLocal(fib, packet.destination)) return takeIn(journey, link, packet);
  if (fib.broadcasts.has(packet.destination)) {
    if (journey.telling) journey.why = `${addressText(packet.destination)} is everybody's: nobody answers`;
    return;
  }
  routeOn(journey, link, packet);
}

/**
 * What was given another destination is handed up to be routed; where the way there is this very bridge, the frame stays on
 * it, bound for its new neighbour (br_nf_pre_routing_finish).
 */
export function redirect(journey: Journey, bridge: Link, packet: Packet): number {
  const { source, destination } = packet;
  if (routeTo(fibOf(bridge.space), destination, source)?.link !== bridge) return bridge.mac;
  return resolve(journey, bridge, destination, source) ?? bridge.mac;
}

/**
 * Sources that the stack believes nobody: its own addresses, 127.0.0.0/8, 0.0.0.0 and beyond 224.0.0.0; and 127.0.0.0/8 as a
 * destination from outside (ip_route_input_slow, __mkroute_input). No reverse path is asked for: rp_filter is 0.
 */
const isMartian = (fib: Fib, { source, destination }: Packet): boolean =>
  isLocal(fib, source) || source >>> 24 === 0 || source >>> 28 >= 14 || destination >>> 24 === 127;

function takeIn(journey: Journey, link: Link, packet: Packet): void {
  const { space } = link;
  if (space === space.host.own && !passInet(journey, space.host, 'input', packet, null, 0)) return;
  if (packet.inner !== null && packet.protocol === UDP) {
    const ofPort = fibOf(space).vxlans.get(packet.destPort);
    const vxlan = ofPort?.get(packet.vni);
    if (vxlan !== undefined) decapsulate(journey, vxlan, packet);
    else if (journey.telling)
      journey.why = `${space.label} has no VXLAN of VNI ${packet.vni} at UDP port ${packet.destPort}`;
    return;
  }
  journey.deliver(space, packet);
}

function routeOn(journey: Journey, link: Link, packet: Packet): void {
  const { space } = link;
  const { host } = space;
  if (!link.forwarding) return refuse(journey, space, packet, `and ${link.name} forwards nothing`);
  const route = routeTo(fibOf(space), packet.destination, packet.source);
  if (route === null) return refuse(journey, space, packet, 'nor a route there');
  if (packet.ttl <= 1) return refuse(journey, space, packet, 'and its time to live is over');
  const out = route.link;
  if (tooLarge(journey, packet, out)) return refuse(journey, space, packet, `it is ${journey.why}`);
  packet.ttl--;
  journey.tally?.count(host, 'route', packet);
  if (space === host.own) {
    packet.oif = out.nameId;
    if (!passInet(journey, host, 'forward', packet, null, 0)) return;
    if (!passForeign(journey, host, link, out, packet)) return;
  }
  postRoute(journey, packet, out, route.via ?? packet.destination);
}

/** What a router does not send on it answers with an ICMP error, where it forwards at all. */
function refuse(journey: Journey, space: Space, packet: Packet, why: string): void {
  if (journey.telling)
    journey.why = `refused by ${space.label}: it has no address ${addressText(packet.destination)}, ${why}`;
}
