import type { Flow } from './conntrack.ts';
import type { Trip } from './trips.ts';

/** Ether types and IP protocols (include/uapi/linux/if_ether.h, in.h). */
export const ETHER_IP = 0x0800;
export const ETHER_ARP = 0x0806;
export const ICMP = 1;
export const TCP = 6;
export const UDP = 17;

/** Header of IP, and of UDP or ICMP. */
export const HEADER_BYTES = 28;
/** What a VXLAN puts before a frame: IP, UDP, VXLAN, and the frame's own Ethernet header (drivers/net/vxlan). */
export const VXLAN_BYTES = 50;

/** A frame and the packet or ARP message in it. Used again and again: a walk makes none. */
export class Packet {
  etherType = ETHER_IP;
  sourceMac = 0;
  destMac = 0;
  source = 0;
  destination = 0;
  protocol = UDP;
  sourcePort = 0;
  destPort = 0;
  ttl = 64;
  /** Of the IP packet. */
  bytes = 0;
  dontFragment = true;
  /** It has an Ethernet header: it came in by a link. */
  framed = false;
  /** Names of the links that filter rules see, as numbers; 0: none. */
  iif = 0;
  oif = 0;
  /** What a VXLAN carries. */
  inner: Packet | null = null;
  vni = 0;
  /** Of such a one: what is known of its way. A copy's way is its own, and nothing is learned from it. */
  trip: Trip | null = null;
  /** Of ARP: is it a request. `source` and `destination` are its sender's and target's address. */
  request = false;
  /** Of the host that it is on; signed, as addresses are. No sender sets one. */
  mark = 0;
  /** Of connection tracking, in the namespace where it is. */
  flow: Flow | null = null;
  isReply = false;
  established = false;
  /** It has passed prerouting on a bridge already (br_netfilter's sabotage_in). */
  prerouted = false;

  copyFrom(other: Packet): this {
    this.etherType = other.etherType;
    this.sourceMac = other.sourceMac;
    this.destMac = other.destMac;
    this.source = other.source;
    this.destination = other.destination;
    this.protocol = other.protocol;
    this.sourcePort = other.sourcePort;
    this.destPort = other.destPort;
    this.ttl = other.ttl;
    this.bytes = other.bytes;
    this.dontFragment = other.dontFragment;
    this.framed = other.framed;
    this.iif = other.iif;
    this.oif = other.oif;
    this.inner = other.inner;
    this.vni = other.vni;
    this.trip = null;
    this.request = other.request;
    this.mark = other.mark;
    this.flow = other.flow;
    this.isReply = other.isReply;
    this.established = other.established;
    this.prerouted = other.prerouted;
    return this;
  }
}
