import { fibOf, isLocal, routeTo } from './fib.ts';
import { HopTally, type Passed } from './hop-tally.ts';
import type { Journey } from './journey.ts';
import type { HostNetwork, Network, Space } from './network.ts';
import type { HopCounts } from './packet-costs.ts';
import { TCP, type UDP } from './packet.ts';
import { createJourney, PROBE_PORT, sendPacket } from './walk.ts';

/** Packets of one size from one socket to another. */
export interface FlowSent {
  readonly from: Space;
  readonly to: number;
  readonly port: number;
  readonly protocol: typeof TCP | typeof UDP;
  /** Of each IP packet. */
  readonly bytes: number;
}

/** How a packet of a flow under way goes. */
export interface FlowWay {
  /** Who gets it, at which port, and from where; null: nobody. */
  readonly arrival: { readonly space: Space; readonly port: number; readonly source: number } | null;
  /** Has anything come back to the sender? Of TCP, where nothing goes without. */
  readonly isAnswered: boolean;
  /** Has its sender a route there? Without one it is told at once. */
  readonly hasRoute: boolean;
  /** What packets may have where one was too large for a link, and its sender was told; 0: none was. */
  readonly roomBytes: number;
  readonly hops: ReadonlyMap<HostNetwork, HopCounts>;
  readonly passed: readonly Passed[];
}

/**
 * Walks the second packet of a flow, for which addresses are resolved. The first has decided how it is translated: no chain
 * of nat is asked again (nf_nat_inet_fn, net/netfilter/nf_nat_core.c). Of UDP that nobody answers `ct state` stays new: a
 * flow is established when a packet of the other direction was seen (resolve_normal_ct, net/netfilter/nf_conntrack_core.c).
 */
export function wayOf(network: Network, flow: FlowSent): FlowWay {
  const { from, to, port, protocol, bytes } = flow;
  const journey = createJourney(network);
  const tally = (journey.tally = new HopTally());
  journey.begin(false);
  sendPacket(journey, from, to, 0, 0, PROBE_PORT, port, bytes, protocol);
  const isAnswered = protocol === TCP && answer(journey, flow);
  journey.goOn();
  tally.clear();
  sendPacket(journey, from, to, 0, 0, PROBE_PORT, port, bytes, protocol);
  const arrived = journey.delivered === 0 ? undefined : journey.deliveries[0];
  const fib = fibOf(from);
  return {
    arrival: arrived === undefined ? null : { space: arrived.space, port: arrived.destPort, source: arrived.source },
    isAnswered,
    hasRoute: isLocal(fib, to) || routeTo(fib, to, 0) !== null,
    roomBytes: journey.roomBytes,
    hops: tally.hops,
    passed: tally.passed,
  };
}

/** A segment without anything in it: headers of IP and TCP, with timestamps, which Linux sends unless told otherwise. */
const BARE_BYTES = 20 + 32;
/** A sender learns of a smaller link only when it has come past the one before. */
const LINKS_MAX = 8;

/**
 * The same of TCP's full segments: as large as the links at both ends take (`mss`, tcp(7)), and as those between say that
 * they do (RFC 1191).
 */
export function wayOfSegments(
  network: Network,
  flow: Omit<FlowSent, 'bytes'>,
): { readonly way: FlowWay; readonly bytes: number } {
  const bare = wayOf(network, { ...flow, bytes: BARE_BYTES });
  const { arrival } = bare;
  if (arrival === null) return { way: bare, bytes: BARE_BYTES };
  let bytes = Math.min(mtuTowards(flow.from, flow.to), mtuTowards(arrival.space, arrival.source));
  for (let links = 0; links < LINKS_MAX; links++) {
    const way = wayOf(network, { ...flow, bytes });
    if (way.arrival !== null || way.roomBytes === 0) return { way, bytes };
    bytes = way.roomBytes;
  }
  return { way: bare, bytes: BARE_BYTES };
}

function mtuTowards(space: Space, to: number): number {
  const fib = fibOf(space);
  return ((isLocal(fib, to) ? null : routeTo(fib, to, 0))?.link ?? space.loopback).mtu;
}

/** Whoever got the packet sends one back. Does it come to the sender's socket? */
function answer(journey: Journey, { from, to, protocol, bytes }: FlowSent): boolean {
  const before = journey.delivered;
  if (before === 0) return false;
  const { space, source, destination, sourcePort, destPort } = journey.deliveries[0]!;
  sendPacket(journey, space, source, destination, destination, destPort, sourcePort, bytes, protocol);
  return journey.deliveries
    .slice(before, journey.delivered)
    .some((each) => each.space === from && each.source === to && each.destPort === PROBE_PORT);
}
