// The search for rates without loss and with little, on paths whose true rates are known because they are made up.
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { type Counted, NO_LOSS, PARTIAL_LOSS, searchRates } from '../../bench/nic/search.ts';

const MAX_PER_SEC = 2_000_000;
const SHORT_MS = 100;
const FULL_MS = 1000;

interface Path {
  /** As a share of the maximum. */
  readonly capacity: number;
  /** How much less passes for each packet too much: 0 the rest is lost, 1 as much again (a livelock). */
  readonly collapse: number;
  /** Packets that wait before any is lost. */
  readonly queue: number;
  /** The share of its capacity from which on a few are lost, and how many. */
  readonly leakFrom: number;
  readonly leak: number;
}

const paths = fc.record<Path>({
  capacity: fc.double({ min: 0.02, max: 1.3, noNaN: true }),
  collapse: fc.constantFrom(0, 0.2, 1),
  queue: fc.constantFrom(0, 1000, 20_000),
  leakFrom: fc.double({ min: 0.3, max: 1, noNaN: true }),
  leak: fc.constantFrom(0, 0.0001, 0.002),
});

/** What an undisturbed trial counts. */
function count({ capacity, collapse, queue, leakFrom, leak }: Path, packetsPerSec: number, forMs: number): Counted {
  const seconds = forMs / 1000;
  const sent = Math.floor(packetsPerSec * seconds);
  const passing = capacity * MAX_PER_SEC * seconds;
  const tooMuch = Math.max(0, sent - queue - passing);
  const passed = tooMuch === 0 ? sent : passing + queue - collapse * tooMuch;
  const leaked = packetsPerSec > leakFrom * capacity * MAX_PER_SEC ? Math.ceil(sent * leak) : 0;
  return { sent, received: Math.max(0, Math.floor(passed) - leaked) };
}

/** The highest load that passes: found by halving, since nothing disturbs it. */
function trueRate(path: Path, loss: number): number {
  const passes = (load: number): boolean => {
    const { sent, received } = count(path, load, FULL_MS);
    return sent - received <= loss * sent;
  };
  if (passes(MAX_PER_SEC)) return MAX_PER_SEC;
  let [low, high] = [0, MAX_PER_SEC];
  while (high - low > 1) {
    const load = Math.floor((low + high) / 2);
    if (passes(load)) low = load;
    else high = load;
  }
  return low;
}

interface Found {
  readonly path: Path;
  /** Found / true, of no loss and of little. */
  readonly ratios: readonly number[];
  readonly shortTrials: number;
  readonly fullTrials: number;
}

/** One trial of so many hundred meets something else that runs, and loses up to a fifth for it. */
async function search(path: Path, disturbedPercent: number, dice: () => number): Promise<Found> {
  const losses = [NO_LOSS, PARTIAL_LOSS];
  const options = { maxPacketsPerSec: MAX_PER_SEC, shortMs: SHORT_MS, fullMs: FULL_MS, precision: 0.01, losses };
  const { rates, trials } = await searchRates(async (packetsPerSec, forMs) => {
    const { sent, received } = count(path, packetsPerSec, forMs);
    const isDisturbed = dice() * 100 < disturbedPercent;
    return { sent, received: isDisturbed ? Math.floor(received * (0.8 + 0.19 * dice())) : received };
  }, options);
  const [none, little] = rates;
  expect(none!.packetsPerSec).toBeLessThanOrEqual(little!.packetsPerSec);
  return {
    path,
    ratios: rates.map(({ packetsPerSec, loss }) => packetsPerSec / trueRate(path, loss)),
    shortTrials: trials.filter(({ forMs }) => forMs === SHORT_MS).length,
    fullTrials: trials.filter(({ forMs }) => forMs === FULL_MS).length,
  };
}

/** Of both rates together, on a path that nothing disturbs. */
const MOST_TRIALS = 40;

const never = (): number => 1;

test('an undisturbed path is found to a hundredth, never above, in a bounded number of trials', async () => {
  await fc.assert(
    fc.asyncProperty(paths, async (path) => {
      const { ratios, shortTrials, fullTrials } = await search(path, 0, never);
      for (const ratio of ratios) {
        expect(ratio).toBeLessThanOrEqual(1);
        expect(ratio).toBeGreaterThan(1 / 1.011);
      }
      expect(Math.max(shortTrials, fullTrials)).toBeLessThanOrEqual(MOST_TRIALS);
    }),
    { numRuns: 500 },
  );
});

test('with a twentieth of all trials disturbed nine of ten are still found to two hundredths', async () => {
  const found: Found[] = [];
  await fc.assert(
    fc.asyncProperty(paths, fc.infiniteStream(fc.noBias(fc.integer({ min: 0, max: 9999 }))), async (path, numbers) => {
      found.push(await search(path, 5, () => (numbers.next().value ?? 0) / 10_000));
    }),
    { numRuns: 500 },
  );
  const near = found.filter(({ ratios }) => ratios.every((ratio) => ratio > 0.98 && ratio <= 1));
  const median = (values: number[]): number => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;
  console.log(
    `packet-rate search, 5 % of trials disturbed: ${near.length} of ${found.length} within 2 %; trials, median and most: short ${median(found.map(({ shortTrials }) => shortTrials))} and ${Math.max(...found.map(({ shortTrials }) => shortTrials))}, full ${median(found.map(({ fullTrials }) => fullTrials))} and ${Math.max(...found.map(({ fullTrials }) => fullTrials))}`,
  );
  expect(near.length / found.length).toBeGreaterThan(0.9);
  expect(found.every(({ ratios }) => ratios.every((ratio) => ratio <= 1))).toBe(true);
});
