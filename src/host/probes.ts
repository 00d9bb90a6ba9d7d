import type { Ipv4Address } from './ipv4.ts';
import type { NamespaceName } from './namespaces.ts';

/** One packet to be sent, and its answer waited for. */
export interface Probe {
  readonly from: NamespaceName;
  /** A source address that is not the sender's own; nobody's answer to it is waited for. */
  readonly forgedSource?: Ipv4Address;
  readonly to: Ipv4Address;
  readonly protocol: 'udp' | 'icmp';
  /** Of UDP; whoever answers there must be answering (`answer`). ICMP is answered by the kernel of whoever has the address. */
  readonly port?: number;
  /** Bytes after the UDP or ICMP header, never fragmented; 64 unless set, the least that is sent. */
  readonly payloadBytes?: number;
}

/** What became of a probe. */
export interface ProbeResult {
  /** Who answered: the name of a host, then `/` and the namespace: `h1/web`, `h1/`; of ICMP `kernel`. Null: nobody. */
  readonly answeredBy: string | null;
  /** Who got it, whether or not the answer came back; only of UDP, and only among those that answer on this host or, in a simulation, on any. */
  readonly arrivedAt: string | null;
  /** The source address it arrived with. */
  readonly seenFrom: Ipv4Address | null;
  /** Where it ended and why, as far as the host can tell; a real host often cannot. */
  readonly why: string;
}

/** Where UDP probes are to be answered. */
export interface AnswerPlace {
  readonly namespace: NamespaceName;
  readonly port: number;
}

/** A probe as it arrived. */
export interface Arrival {
  /** As in `answeredBy`. */
  readonly at: string;
  /** The address that it was sent to, as the sender wrote it. */
  readonly sentTo: Ipv4Address;
  readonly sentBy: string;
  readonly seenFrom: Ipv4Address;
}

/** Answers until it is closed. */
export interface Answering {
  /** What came since it began. */
  arrivals(): Promise<readonly Arrival[]>;
  close(): Promise<void>;
}

/** Who reaches whom, found by real packets from inside a namespace, or by the packet's walk through the simulation. */
export interface Probes {
  /** @throws HostError EADDRINUSE, ENODEV where the namespace is not there */
  answer(places: readonly AnswerPlace[]): Promise<Answering>;
  /** All at once; results in the order of the probes. What gets no answer takes a moment. @throws HostError ENODEV */
  send(probes: readonly Probe[]): Promise<readonly ProbeResult[]>;
}
