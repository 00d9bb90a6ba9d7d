import { linuxClock } from '../../backends/linux/clock.ts';
import type { NicCase } from './costs.ts';
import type { Generator } from './generator.ts';
import type { PacketProcesses } from './packet-processes.ts';
import type { NicPlace } from './place.ts';
import { startConversing, type Transactions } from './request-response.ts';

/** Shares of the partial drop rate that a path is under while it is asked. */
export const LOADS = [0.1, 0.5, 0.9] as const;

/** Few enough that the asking itself is no load. */
const ASKS_PER_SEC = 1000;

/** How long a datagram takes to the sink and back while the path passes a share of what it can. */
export async function measureLatency(
  place: NicPlace,
  { payloadBytes, containers: count }: NicCase,
  generator: Generator,
  packetsPerSec: number,
  forMs: number,
  askers: PacketProcesses,
): Promise<Transactions> {
  const containers = place.containers.slice(0, count);
  const generating = await generator.start(place, { containers, payloadBytes, packetsPerSec: packetsPerSec / count });
  try {
    const asking = {
      containers: containers.slice(0, 1),
      protocol: 'udp',
      payloadBytes,
      asksPerSec: ASKS_PER_SEC,
    } as const;
    const conversing = await startConversing(place, asking, askers);
    await linuxClock.sleep(forMs);
    return await conversing.stop();
  } finally {
    await generating.stop();
  }
}

/** Requests and answers, one after the other, as fast as they go. */
export async function measureTransactions(
  place: NicPlace,
  { payloadBytes, containers }: NicCase,
  protocol: 'udp' | 'tcp',
  forMs: number,
  askers: PacketProcesses,
): Promise<Transactions> {
  const asking = { containers: place.containers.slice(0, containers), protocol, payloadBytes };
  const conversing = await startConversing(place, asking, askers);
  await linuxClock.sleep(forMs);
  return await conversing.stop();
}
