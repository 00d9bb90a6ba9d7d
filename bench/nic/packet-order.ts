import type { Ipv4Address } from '../../src/host/ipv4.ts';

/** What a process of packets is to do; comes as a line of JSON, and is answered by one. */
export type PacketOrder = FloodOrder | EchoOrder | AskOrder;

/** Where from, for a process that knows nothing of hosts. */
interface Origin {
  readonly namespaceFile: string;
  readonly target: Ipv4Address;
  readonly payloadBytes: number;
}

/** Datagrams, as fast as it goes unless a pace is set. After its answer `go`, then `count` as often as wanted, and `stop`. */
export interface FloodOrder extends Origin {
  readonly work: 'flood';
  readonly port: number;
  readonly packetsPerSec?: number;
  /** Datagrams that the kernel makes of one message. */
  readonly segments?: number;
  /** Where its thread stays. */
  readonly cpu: number;
}

/** To send back what comes by UDP and TCP. */
export interface EchoOrder {
  readonly work: 'echo';
  readonly namespaceFile: string;
  readonly port: number;
}

/** Requests, each when the one before is answered. After its answer `go`, then `stop`. */
export interface AskOrder extends Origin {
  readonly work: 'ask';
  readonly protocol: 'udp' | 'tcp';
  readonly port: number;
  /** At most so many; as fast as they are answered unless set. */
  readonly asksPerSec?: number;
  readonly cpu?: number;
}

/** The first answer to any order: nothing, or why not. */
export interface Begun {
  readonly refused?: string;
}

/** What was sent since `go`. */
export interface Sent {
  readonly packets: number;
  /** What the kernel did not take: no room in a queue, a filter. */
  readonly refused: number;
}

/** What was asked since `go`. */
export interface Asked {
  /** Answered. */
  readonly transactions: number;
  /** Not answered within a second. */
  readonly lost: number;
  readonly tookMs: number;
  /** As `Latencies` keeps them. */
  readonly latencies: readonly (readonly [slot: number, count: number])[];
  readonly maxUs: number;
}
