import { closeSync, readFileSync } from 'node:fs';
import { linuxClock } from '../../backends/linux/clock.ts';
import { Datagrams } from '../../backends/linux/stream-calls.ts';
import { AF_INET, connectSocket, openSocket, SOCK_DGRAM, socketAddress } from '../../backends/linux/syscalls.ts';
import { parseAddress } from '../../src/host/ipv4.ts';
import type { Sent } from './packet-order.ts';
import type { PathContainer } from './picture.ts';
import type { NicPlace } from './place.ts';
import { FLOOD_PORT } from './sink.ts';

export type GeneratorName = 'sendmmsg' | 'udp-segment' | 'trafgen' | 'pktgen';

/** Where a generator sends from, and who counts. */
export type FloodPlace = Pick<NicPlace, 'root' | 'containers' | 'sink'>;

export interface Flood {
  readonly containers: readonly PathContainer[];
  readonly payloadBytes: number;
  /** Of each; as fast as it goes unless set. */
  readonly packetsPerSec?: number;
}

/** Sends datagrams of one size from containers. */
export interface Generator {
  readonly name: GeneratorName;
  /** It cannot send less in a datagram. */
  readonly payloadBytesMin: number;
  /** Why it cannot be used on this machine or path; null: it can. */
  whyNot(place: FloodPlace): Promise<string | null>;
  /** Begins in each of these containers, spread over the CPUs, when a packet of each has reached the sink. @throws Error */
  start(place: FloodPlace, flood: Flood): Promise<Generating>;
  /** Ends what it keeps running between floods. */
  close(): Promise<void>;
}

/** A flood under way. */
export interface Generating {
  /** Microseconds of CPU, user and system, that those who send have had since they are there: of use is the difference. */
  cpuUs(): number;
  /** What all have sent so far. @throws Error where one has ended */
  sent(): Promise<Sent>;
  /** Ends it. @returns what all have sent @throws Error where one had ended before */
  stop(): Promise<Sent>;
}

const NOTHING_SENT: Sent = { packets: 0, refused: 0 };

export const together = (all: readonly Sent[]): Sent =>
  all.reduce((a, b) => ({ packets: a.packets + b.packets, refused: a.refused + b.refused }), NOTHING_SENT);

/** The CPUs that this process may use, the last first: interrupts of devices come to the first on most machines. */
export function cpusHere(): number[] {
  const list = /^Cpus_allowed_list:\s*(\S+)/m.exec(readFileSync('/proc/self/status', 'utf8'))![1]!;
  return list
    .split(',')
    .flatMap((range) => {
      const [first, last = first] = range.split('-').map(Number) as [number, number?];
      return Array.from({ length: last - first + 1 }, (_, index) => first + index);
    })
    .reverse();
}

/** Asked for a neighbour's address this often while nothing arrives. */
const WARM_EVERY_MS = 5;
const WARM_WITHIN_MS = 10_000;

/**
 * Sends single packets until one of each container has reached the sink: the first ask for the neighbour's address, and those
 * behind it find no room. @throws Error where none arrives
 */
export async function warmUp({ root, sink }: FloodPlace, containers: readonly PathContainer[]): Promise<void> {
  const datagrams = new Datagrams(1);
  for (const { namespace, target } of containers) {
    const fd = root.within(namespace, () => openSocket(AF_INET, SOCK_DGRAM, 0));
    try {
      const refused = connectSocket(fd, socketAddress(parseAddress(target), FLOOD_PORT));
      if (refused < 0) throw new Error(`${target} cannot be sent to from ${namespace}: error ${-refused}`);
      const { packets } = await sink.counts();
      for (let waitedMs = 0; ; waitedMs += WARM_EVERY_MS) {
        datagrams.send(fd, 1);
        if ((await sink.counts()).packets > packets) break;
        if (waitedMs > WARM_WITHIN_MS)
          throw new Error(
            `nothing that ${namespace} sends to ${target} comes to the sink: is every link on the way up?`,
          );
        await linuxClock.sleep(WARM_EVERY_MS);
      }
    } finally {
      closeSync(fd);
    }
  }
}
