import { type Hop, type HopCounts, HOPS } from './packet-costs.ts';
import type { HostNetwork, Link } from './network.ts';
import { ETHER_IP, type Packet } from './packet.ts';
import { Htb } from './qdisc.ts';

/** A link that the packet left by, or a host's link that it came in by from the fabric. */
export interface Passed {
  readonly link: Link;
  readonly direction: 'out' | 'in';
  /** Of the IP packet there: a tunnel makes it larger. */
  readonly bytes: number;
  readonly mark: number;
}

/**
 * What one packet costs on its way, by whose CPUs, and what it passes. A journey that keeps one takes no short cut: no rule
 * is left out beforehand, no trip through a tunnel is remembered, and no class counts it.
 */
export class HopTally {
  readonly #counts = new Map<HostNetwork, Record<Hop, number>>();
  readonly passed: Passed[] = [];

  clear(): void {
    this.#counts.clear();
    this.passed.length = 0;
  }

  /** ARP, which is asked once for thousands of packets, costs nothing. */
  count(host: HostNetwork, hop: Hop, packet: Packet, times = 1): void {
    if (packet.etherType !== ETHER_IP) return;
    let counts = this.#counts.get(host);
    if (counts === undefined) this.#counts.set(host, (counts = noHops()));
    counts[hop] += times;
  }

  /** It leaves by a link. */
  leave(link: Link, packet: Packet): void {
    const { host } = link.space;
    this.#pass(link, 'out', packet);
    if (link.qdisc instanceof Htb) this.count(host, 'qdisc', packet);
    if (link.type === 'bridge' || link.type === 'macvlan') this.count(host, link.type, packet);
    if (link.type === 'vxlan') this.count(host, 'tunnel', packet);
    if (link.type === 'other') this.count(host, link.vf === null ? 'wire' : 'vf', packet);
  }

  /** It comes in by the other end of a veth, or by the fabric. */
  arrive(link: Link, packet: Packet): void {
    if (link.type === 'veth') return this.count(link.space.host, 'veth', packet);
    this.#pass(link, 'in', packet);
    this.count(link.space.host, link.vf === null ? 'wire' : 'vf', packet);
  }

  #pass(link: Link, direction: Passed['direction'], { etherType, bytes, mark }: Packet): void {
    if (etherType === ETHER_IP) this.passed.push({ link, direction, bytes, mark });
  }

  /** By host, in the order in which the packet came to them. */
  get hops(): ReadonlyMap<HostNetwork, HopCounts> {
    return this.#counts;
  }
}

const noHops = (): Record<Hop, number> => Object.fromEntries(HOPS.map((hop) => [hop, 0])) as Record<Hop, number>;
