import { setImmediate } from 'node:timers/promises';
import type { GoOn } from '../attach.ts';
import { PinnedThread } from '../pinned-thread.ts';
import { CostMeter } from './cost.ts';
import type { PathSpec } from './paths.ts';
import { warmUp } from './generator.ts';
import type { NicPlace } from './place.ts';
import type { NicSite } from './site.ts';
import { median } from '../result.ts';

/** 20 ms and more of sending: small enough that all who are compared see the same machine. */
const PACKETS = 20_000;
/** They take turns so often in a round, whose figure is the median of them. */
const TURNS = 2;

/** A path, with datagrams of one size from so many containers in turn. */
export interface NicCase {
  readonly path: PathSpec;
  readonly payloadBytes: number;
  readonly containers: number;
}

/** As `NicCase`, measured. */
export interface MeasuredCase extends NicCase {
  /** Microseconds of CPU of one packet, from the sender's system call to the sink. */
  readonly roundsUs: number[];
}

export const caseName = ({ path, payloadBytes, containers }: NicCase): string =>
  `${path.name} ${containers}x${payloadBytes}`;

/** Measures what a packet costs in each of these cases, in rounds in which all paths take their turns. */
export async function measureCosts(
  site: NicSite,
  cases: readonly MeasuredCase[],
  runs: number,
  goOn: GoOn,
): Promise<void> {
  const paths = new Set(cases.map(({ path }) => path));
  const thread = await PinnedThread.pin();
  try {
    for (let run = 1; run <= runs; run++) {
      goOn(`CPU of a packet, round ${run} of ${runs}`);
      for (const path of paths) {
        const own = cases.filter((each) => each.path === path);
        const costs = await costsOf(await site.place(path), own, thread, goOn);
        for (const [index, each] of own.entries()) each.roundsUs.push(costs[index]!);
      }
    }
  } finally {
    await thread.release();
  }
}

async function costsOf(
  place: NicPlace,
  cases: readonly NicCase[],
  thread: PinnedThread,
  goOn: GoOn,
): Promise<number[]> {
  await warmUp(place, place.containers);
  const meter = new CostMeter(place, thread);
  try {
    const turns = cases.map((): number[] => []);
    for (let turn = 0; turn < TURNS; turn++)
      for (const [index, { payloadBytes, containers }] of cases.entries()) {
        turns[index]!.push(await meter.costUs(payloadBytes, containers, PACKETS));
        // Nothing of a turn waits for anything: without this a signal would never be heard.
        await setImmediate();
        goOn();
      }
    return turns.map(median);
  } finally {
    meter.close();
  }
}
