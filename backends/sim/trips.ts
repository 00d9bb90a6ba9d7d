import type { Link } from './network.ts';
import type { Packet } from './packet.ts';

/**
 * Where the packets that a VXLAN sends to one host come out. What it puts around one frame it puts around the next, and so
 * both go one way, unless the next is too large for it. Not even connection tracking tells them apart: the other end answers
 * from port 0 as well, which makes another flow, but for a tunnel to port 0, of which nothing is remembered.
 */
export interface Trip {
  /** Null: not known. */
  end: Link | null;
  /** The largest frame that came out there. */
  bytes: number;
}

/** Of one VXLAN under one revision, by the host it sends to. */
export interface Trips {
  readonly revision: number;
  readonly byRemote: Map<number, Trip>;
}

export function tripTo(link: Link, remote: number): Trip {
  const { revision } = link.space.host.network;
  if (link.trips?.revision !== revision) link.trips = { revision, byRemote: new Map() };
  const { byRemote } = link.trips;
  let trip = byRemote.get(remote);
  if (trip === undefined) byRemote.set(remote, (trip = { end: null, bytes: 0 }));
  return trip;
}

/** Remembers where a frame came out. Of one that may be cut its size tells nothing. */
export function remember(trip: Trip, end: Link, { bytes, dontFragment }: Packet): void {
  if (!dontFragment) return;
  trip.end = end;
  trip.bytes = Math.max(trip.bytes, bytes);
}
