import { linuxClock, monotonicMs } from '../../backends/linux/clock.ts';
import type { NicCase } from './costs.ts';
import type { Generator } from './generator.ts';
import type { NicPlace } from './place.ts';
import { type FoundRate, NO_LOSS, PARTIAL_LOSS, searchRates } from './search.ts';

/** What is under way when a trial ends has come after this. */
const SETTLE_MS = 10;

export interface FrameRates {
  /** Without loss: the non-drop rate. */
  readonly ndr: FoundRate;
  /** With a loss of at most 0.5 %: the partial drop rate. */
  readonly pdr: FoundRate;
}

/** Finds what a path passes without loss and with little; `maxPacketsPerSec` of all containers together. */
export async function findFrameRates(
  place: NicPlace,
  { payloadBytes, containers: count }: NicCase,
  generator: Generator,
  maxPacketsPerSec: number,
): Promise<FrameRates> {
  const containers = place.containers.slice(0, count);
  const { rates } = await searchRates(
    async (packetsPerSec, forMs) => {
      // Each sender sends until one of its packets has come: the last count that is read for that is where the trial begins.
      let before = await place.sink.counts();
      const sink = { counts: async () => (before = await place.sink.counts()), close: () => place.sink.close() };
      const flood = { containers, payloadBytes, packetsPerSec: packetsPerSec / count };
      const generating = await generator.start({ ...place, sink }, flood);
      const begunMs = monotonicMs();
      await linuxClock.sleep(forMs);
      const { packets: sent } = await generating.stop();
      const tookMs = monotonicMs() - begunMs;
      await linuxClock.sleep(SETTLE_MS);
      const after = await place.sink.counts();
      return { sent, received: Math.min(sent, after.packets - before.packets), tookMs };
    },
    { maxPacketsPerSec, shortMs: 50, fullMs: 200, precision: 0.02, losses: [NO_LOSS, PARTIAL_LOSS] },
  );
  return { ndr: rates[0]!, pdr: rates[1]! };
}
