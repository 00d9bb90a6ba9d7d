/**
 * What a packet's way consists of, as far as it costs CPU time. Each is told apart from the others by some way that has
 * more of it: `plimsoll bench nic` measures such ways, and fits what one of each costs.
 */
export const HOPS = [
  /** A datagram from its sender's socket to its first link: the system call, UDP, IP's output. */
  'send',
  /** From one end of a veth to the other. */
  'veth',
  /** Out by a macvlan, or in by one. */
  'macvlan',
  /** A frame taken up by a bridge, or sent by a bridge's own stack. */
  'bridge',
  /** A bridge hands the packet to the hooks of IP, and takes it back (br_netfilter). */
  'bridgeCall',
  /** Forwarded by IP. */
  'route',
  /** A base chain is entered: of Plimsoll's own tables, or somebody else's FORWARD. */
  'hook',
  /** One field of a rule is compared. */
  'match',
  /** A set or a map of a rule is looked into. */
  'lookup',
  /** Connection tracking finds the packet's flow. */
  'track',
  /** An address is rewritten, as the flow's first packet decided. */
  'translate',
  /** A rule of somebody else's firewall. */
  'foreignRule',
  /** Through an HTB. */
  'qdisc',
  /** Into a VXLAN, or out of it. */
  'tunnel',
  /** Out by a link to the fabric, or in by one. */
  'wire',
  /** The same by a VF. */
  'vf',
] as const;
export type Hop = (typeof HOPS)[number];
export type HopCounts = Readonly<Record<Hop, number>>;

/** What packets cost a CPU. The receiver's socket is not among it: nothing here measures it. */
export interface PacketCosts {
  /** Null: not calibrated. */
  readonly nsPerHop: Readonly<Record<Hop, number | null>>;
  /** Of the IP packet that is sent: its sender copies it. */
  readonly nsPerByte: number;
  /** Where the numbers are from. */
  readonly about: string;
}

/** CPU time of one packet. @throws RangeError where it passes what is not calibrated */
export function costNs(hops: HopCounts, bytes: number, { nsPerHop, nsPerByte }: PacketCosts): number {
  let sum = bytes * nsPerByte;
  for (const hop of HOPS) {
    if (hops[hop] === 0) continue;
    const ns = nsPerHop[hop];
    if (ns === null) throw new RangeError(`what a packet's ${hop} costs is not calibrated`);
    sum += hops[hop] * ns;
  }
  return sum;
}
