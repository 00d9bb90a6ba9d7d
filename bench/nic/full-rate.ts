import { linuxClock, monotonicMs } from '../../backends/linux/clock.ts';
import { readCpuTicks } from './busy.ts';
import type { NicCase } from './costs.ts';
import type { Generator } from './generator.ts';
import type { NicPlace } from './place.ts';
import { insistOnFrames } from './sink.ts';

/** Of /proc/stat: hundredths of a second on every architecture (USER_HZ, proc_stat(5)). */
const US_PER_TICK = 10_000;
/** Until queues are as full as they get. */
const WARM_UP_MS = 50;

/** All that a path passes, while each container sends as fast as it can. */
export interface FullRate {
  readonly packetsPerSec: number;
  /** Microseconds of CPU for each packet that came: of the senders, and of the whole host, idling left out. */
  readonly senderUs: number;
  readonly hostUs: number;
}

/** @throws Error where several packets count as one, or a sender ends */
export async function measureFullRate(
  place: NicPlace,
  { path, payloadBytes, containers }: NicCase,
  generator: Generator,
  forMs: number,
): Promise<FullRate> {
  const flood = { containers: place.containers.slice(0, containers), payloadBytes };
  const generating = await generator.start(place, flood);
  try {
    await linuxClock.sleep(WARM_UP_MS);
    const read = async () => ({
      ms: monotonicMs(),
      counts: await place.sink.counts(),
      senderUs: generating.cpuUs(),
      hostUs: (readCpuTicks()?.busy ?? 0) * US_PER_TICK,
    });
    const before = await read();
    await linuxClock.sleep(forMs);
    const after = await read();
    insistOnFrames(before.counts, after.counts, payloadBytes, path.name);
    const came = after.counts.packets - before.counts.packets;
    if (came <= 0) throw new Error(`${path.name}: nothing came to the sink in ${forMs} ms`);
    return {
      packetsPerSec: (came * 1000) / (after.ms - before.ms),
      senderUs: (after.senderUs - before.senderUs) / came,
      hostUs: (after.hostUs - before.hostUs) / came,
    };
  } finally {
    await generating.stop();
  }
}
