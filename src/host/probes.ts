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
  /** A mark that the sender's own socket gives its packets (SO_MARK, socket(7)), `0x504c0003`; none unless set. */
  readonly mark?: string;
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

/** Where a stream may end. */
export interface StreamPlace extends AnswerPlace {
  readonly protocol: 'tcp' | 'udp';
}

/** Takes what streams bring, until it is closed. */
export interface Receiving {
  /**
   * What came to each place since it began, in their order: payload, and the headers that it had on an Ethernet (UDP: 42
   * bytes a datagram; TCP: 66 a full segment). Of UDP all that reached the namespace counts, also what the receiver was too
   * slow to read. @throws HostError EOPNOTSUPP where something on the way of what was to come is not modelled
   */
  wireBytes(): Promise<readonly number[]>;
  close(): Promise<void>;
}

/** Fills an Ethernet frame: 1500 less the headers of IPv4 and UDP. */
export const STREAM_PAYLOAD_BYTES = 1472;
/** The most that IPv4 carries in UDP. */
export const STREAM_PAYLOAD_BYTES_MAX = 65_507;

/** Packets one after another, from a namespace. */
export interface Stream {
  readonly from: NamespaceName;
  readonly to: Ipv4Address;
  readonly port: number;
  readonly protocol: 'tcp' | 'udp';
  /** Of UDP, of each datagram; STREAM_PAYLOAD_BYTES unless set. */
  readonly payloadBytes?: number;
  /** Of UDP: no faster than this on the wire; as fast as it goes unless set. */
  readonly rateBitsPerSec?: number;
}

/** Streams that run until they are closed. */
export interface Streaming {
  close(): Promise<void>;
}

/** Who reaches whom, found by real packets from inside a namespace, or by the packet's walk through the simulation. */
export interface Probes {
  /** @throws HostError EADDRINUSE, ENODEV where the namespace is not there */
  answer(places: readonly AnswerPlace[]): Promise<Answering>;
  /** All at once; results in the order of the probes. What gets no answer takes a moment. @throws HostError ENODEV */
  send(probes: readonly Probe[]): Promise<readonly ProbeResult[]>;
  /** @throws HostError EADDRINUSE, ENODEV */
  receive(places: readonly StreamPlace[]): Promise<Receiving>;
  /**
   * Begins all at once. A TCP stream without anybody at its end: ECONNREFUSED is told as EHOSTUNREACH. EOPNOTSUPP: how fast it
   * would go is not modelled, and what of its way it is that is not. @throws HostError ENODEV, EINVAL, EHOSTUNREACH, EOPNOTSUPP
   */
  stream(streams: readonly Stream[]): Promise<Streaming>;
}
