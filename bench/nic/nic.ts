import { HostError } from '../../src/host/errors.ts';
import { Interrupted } from '../../src/scenario/run.ts';
import type { GoOn } from '../attach.ts';
import { measureCeilings } from './ceiling.ts';
import { caseName, measureCosts, type MeasuredCase, type NicCase } from './costs.ts';
import { type FrameRates, findFrameRates } from './frame-rates.ts';
import { type FullRate, measureFullRate } from './full-rate.ts';
import type { Generator } from './generator.ts';
import { LOADS, measureLatency, measureTransactions } from './latency.ts';
import type { PathSpec } from './paths.ts';
import { PacketProcesses } from './packet-processes.ts';
import type { NicPlace } from './place.ts';
import type { Transactions } from './request-response.ts';
import type { NicSite } from './site.ts';
import { undoAll } from './undo.ts';

/** Of CPU time 300 ms are told to a few percent (hundredths of a second), and thirty cases fit in ten seconds. */
const FULL_RATE_MS = 300;
const LATENCY_MS = 300;
/** The search looks for no more than was passed at full rate, and a little. */
const BEYOND = 1.1;

export interface NicOptions {
  /** The figures are medians over this many rounds. */
  readonly runs: number;
  readonly sizes: readonly number[];
  /** How many containers send at once. */
  readonly ratios: readonly number[];
  /** Rates and costs alone: no search, no latencies, no requests. */
  readonly isQuick: boolean;
  /** What sends at full rate and at a pace. CPU of a packet is measured by a sender of its own. */
  readonly generator: Generator;
  readonly onProgress?: (what: string) => void;
  /** Ends the bench, which clears up first, and keeps what it has. */
  readonly signal?: AbortSignal;
}

/** What has been measured; of an interrupted bench as far as it came. */
export interface NicMeasured {
  readonly costs: MeasuredCase[];
  readonly full: Measured<FullRate[]>[];
  /** Of the fastest path, by a sender that has less to do. */
  readonly ceilings: Measured<FullRate>[];
  readonly frames: Measured<FrameRates>[];
  /** By share of the partial drop rate. */
  readonly latencies: Measured<{ readonly load: number; readonly taken: Transactions }>[];
  readonly transactions: Measured<{ readonly protocol: 'udp' | 'tcp'; readonly taken: Transactions }>[];
  /** Why it is not whole. */
  partial?: Error;
}

/** Something of one path, size and ratio. */
export interface Measured<T> {
  readonly of: NicCase;
  readonly is: T;
}

/** How many packets each way from a container to the wire passes, and what one costs. The site is closed in the end. */
export async function measureNic(site: NicSite, options: NicOptions): Promise<NicMeasured> {
  const { runs, sizes, ratios, isQuick, generator, onProgress = () => {}, signal } = options;
  const goOn: GoOn = (what) => {
    if (signal?.aborted === true) throw new Interrupted('the bench was interrupted');
    if (what !== undefined) onProgress(`nic: ${what}`);
  };
  const measured: NicMeasured = { costs: [], full: [], ceilings: [], frames: [], latencies: [], transactions: [] };
  try {
    goOn(`${site.shown.length} paths, and ${site.parts.length} that tell what each part of a way costs`);
    for (const path of [...site.shown, ...site.parts]) {
      await site.place(path);
      goOn();
    }
    for (const path of site.shown) await insistUsable(generator, await site.place(path), sizes);
    const casesOf = (paths: readonly PathSpec[]): NicCase[] =>
      paths.flatMap((path) =>
        ratios.flatMap((containers) => sizes.map((payloadBytes) => ({ path, payloadBytes, containers }))),
      );
    const cases = casesOf(site.shown);
    measured.costs.push(...[...cases, ...casesOf(site.parts)].map((each) => ({ ...each, roundsUs: [] })));
    await measureCosts(site, measured.costs, runs, goOn);
    await measureRates(site, cases, runs, generator, measured, goOn);
    measured.ceilings.push(...(await measureCeilings(site, cases, FULL_RATE_MS)));
    if (!isQuick) await measureMore(site, cases, generator, measured, goOn);
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    // Whatever a signal cut off on its way has failed because of it.
    measured.partial =
      signal?.aborted === true ? new Interrupted('the bench was interrupted', { cause: error }) : error;
  }
  try {
    await undoAll([() => site.close(), () => generator.close()]);
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    // What was measured is worth no less for it.
    measured.partial ??= error;
  }
  return measured;
}

/** @throws HostError EOPNOTSUPP */
async function insistUsable(generator: Generator, place: NicPlace, sizes: readonly number[]): Promise<void> {
  const { name, payloadBytesMin } = generator;
  const least = Math.min(...sizes);
  const why =
    least < payloadBytesMin
      ? `it sends ${payloadBytesMin} bytes at least, not ${least}`
      : await generator.whyNot(place);
  if (why !== null)
    throw new HostError('EOPNOTSUPP', 'bench nic --generator', name, { detail: `${place.path.name}: ${why}` });
}

/** In rounds in which all take their turns. */
async function measureRates(
  site: NicSite,
  cases: readonly NicCase[],
  runs: number,
  generator: Generator,
  { full }: NicMeasured,
  goOn: GoOn,
): Promise<void> {
  full.push(...cases.map((of) => ({ of, is: [] })));
  for (let run = 1; run <= runs; run++) {
    goOn(`packets a second, round ${run} of ${runs}`);
    for (const [index, of] of cases.entries()) {
      full[index]!.is.push(await measureFullRate(await site.place(of.path), of, generator, FULL_RATE_MS));
      goOn();
    }
  }
}

/** Rates without loss, and how long a packet takes at shares of them. */
async function measureMore(
  site: NicSite,
  cases: readonly NicCase[],
  generator: Generator,
  measured: NicMeasured,
  goOn: GoOn,
): Promise<void> {
  const askers = new PacketProcesses();
  try {
    for (const [path, own] of Map.groupBy(cases, (each) => each.path)) {
      const place = await site.place(path);
      const echo = (await place.echo?.()) ?? null;
      try {
        for (const of of own) {
          goOn(`rates without loss, latency, requests: ${caseName(of)}, ${cases.indexOf(of) + 1} of ${cases.length}`);
          await measureOne(place, of, generator, echo === null ? null : askers, measured, goOn);
        }
      } finally {
        await echo?.close();
      }
    }
  } finally {
    await askers.close();
  }
}

async function measureOne(
  place: NicPlace,
  of: NicCase,
  generator: Generator,
  askers: PacketProcesses | null,
  { full, frames, latencies, transactions }: NicMeasured,
  goOn: GoOn,
): Promise<void> {
  const own = full.find((each) => caseName(each.of) === caseName(of))!;
  const most = Math.max(...own.is.map(({ packetsPerSec }) => packetsPerSec)) * BEYOND;
  const found = await findFrameRates(place, of, generator, most);
  frames.push({ of, is: found });
  goOn();
  if (askers === null) return;
  for (const load of LOADS) {
    const packetsPerSec = found.pdr.packetsPerSec * load;
    const taken = await measureLatency(place, of, generator, packetsPerSec, LATENCY_MS, askers);
    latencies.push({ of, is: { load, taken } });
  }
  for (const protocol of ['udp', 'tcp'] as const) {
    const taken = await measureTransactions(place, of, protocol, LATENCY_MS, askers);
    transactions.push({ of, is: { protocol, taken } });
  }
}
