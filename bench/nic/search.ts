// Rates without loss and with little, found as RFC 2544 asks and in the manner of "Multiple Loss Ratio Search"
// (draft-ietf-bmwg-mlrsearch-15): short trials say where to look, full ones decide, and a load passes by the majority of its
// trials, so that no single trial that something else disturbed decides anything.

/** What one trial counted. */
export interface Counted {
  /** As long as was asked unless told. */
  readonly tookMs?: number;
  readonly sent: number;
  readonly received: number;
}

/** Offers a load for a time, and counts. */
export type RunTrial = (packetsPerSec: number, forMs: number) => Promise<Counted>;

export interface Trial extends Counted {
  readonly packetsPerSec: number;
  readonly forMs: number;
}

export interface SearchOptions {
  /** No more is offered: of the wire, or what the generator can. */
  readonly maxPacketsPerSec: number;
  /** Of trials that say where to look. */
  readonly shortMs: number;
  /** Of trials that decide. */
  readonly fullMs: number;
  /** A found rate is within this share of one that is too high. */
  readonly precision: number;
  /** The shares that may be lost, each a search. */
  readonly losses: readonly number[];
}

/** The highest load of which no more than a share is lost. */
export interface FoundRate {
  readonly loss: number;
  /** What was sent at that load; 0 where even the least load lost more. */
  readonly packetsPerSec: number;
  /** What of it came. */
  readonly receivedPerSec: number;
  /** The lowest load that was too high; null where there was none. */
  readonly tooHighPacketsPerSec: number | null;
  /** What kept it from being higher: packets were lost, the generator could send no more, or no more was to be offered. */
  readonly limit: 'path' | 'generator' | 'maximum';
}

/** NDR, and PDR as it is commonly understood. */
export const NO_LOSS = 0;
export const PARTIAL_LOSS = 0.005;

/** Short trials look to this, or no closer than asked for. */
const ROUGH_PRECISION = 0.03;
/** A load of which less is sent was not offered. */
const OFFERED = 0.98;
/** So many trials that agree decide about a load, of at most three. */
const MAJORITY = 2;
/** Of the most that is offered; nobody asks after less. */
const LEAST = 0.001;

type Verdict = 'good' | 'lost' | 'unsent';

interface Phase {
  readonly forMs: number;
  readonly agreeing: number;
  readonly precision: number;
}

/** Where the answer lies. Guesses until they are tried. */
interface Bounds {
  readonly low: number;
  /** Null: none is known to be too high. */
  readonly high: number | null;
}

/** Finds the rate for each loss, with every trial that was made for it. */
export async function searchRates(
  run: RunTrial,
  { maxPacketsPerSec, shortMs, fullMs, precision, losses }: SearchOptions,
): Promise<{ readonly rates: readonly FoundRate[]; readonly trials: readonly Trial[] }> {
  const search = new Search(run, Math.floor(maxPacketsPerSec));
  const short = { forMs: shortMs, agreeing: 1, precision: Math.max(precision, ROUGH_PRECISION) };
  const full = { forMs: fullMs, agreeing: MAJORITY, precision };
  const rates = new Map<number, FoundRate>();
  const guess = await search.firstGuess(short);
  let found: Bounds | null = null;
  // Where much may be lost comes first: the rate without loss is no higher, and often the same.
  for (const loss of losses.toSorted((a, b) => b - a)) {
    if (found === null || !(await search.isPassing(found.low, loss, full))) {
      const ceiling: Bounds = found ?? { low: search.most, high: null };
      const rough = await search.narrow(loss, short, found ?? guess, ceiling);
      found = await search.narrow(loss, full, rough, ceiling);
    }
    rates.set(loss, search.rateOf(loss, full, found));
  }
  return { rates: losses.map((loss) => rates.get(loss)!), trials: search.trials };
}

class Search {
  readonly trials: Trial[] = [];
  readonly most: number;
  readonly #run: RunTrial;
  readonly #least: number;

  constructor(run: RunTrial, most: number) {
    this.most = most;
    this.#run = run;
    this.#least = Math.max(1, Math.ceil(most * LEAST));
  }

  /** What comes of the most that is offered is near what passes. */
  async firstGuess({ forMs }: Phase): Promise<Bounds> {
    const { received, tookMs = forMs } = await this.#try(this.most, forMs);
    return { low: this.#within((received * 1000) / tookMs), high: this.most };
  }

  /** Moves the bounds, each tried, to within the precision of each other; no higher than a search that may lose more got. */
  async narrow(loss: number, phase: Phase, guess: Bounds, ceiling: Bounds): Promise<Bounds> {
    let { low, high } = await this.#passing(loss, phase, guess);
    let width = phase.precision;
    while (low > 0 && low < ceiling.low) {
      const isTooHigh = high !== null && high > low && this.#isRefused(high, loss, phase);
      const next = isTooHigh ? middle(low, high!) : Math.max(high ?? 0, Math.ceil(low * (1 + width)));
      if (isTooHigh && (high! <= low * (1 + phase.precision) || next <= low || next >= high!)) break;
      const load = Math.min(next, ceiling.low);
      if ((await this.#judge(load, loss, phase)) !== 'good') high = load;
      else {
        low = load;
        // What was too high by a guess passes: higher, in growing steps.
        if (!isTooHigh) width *= 2;
      }
    }
    return low > 0 && low >= ceiling.low ? ceiling : { low, high };
  }

  /** A load that passes: the guess, or below it in growing steps; 0 where even the least does not. */
  async #passing(loss: number, phase: Phase, guess: Bounds): Promise<Bounds> {
    let { low, high } = { ...guess, low: this.#within(guess.low) };
    for (let width = phase.precision; low > 0; width *= 2) {
      if ((await this.#judge(low, loss, phase)) === 'good') break;
      high = low;
      low = low <= this.#least ? 0 : this.#within(low * (1 - width));
    }
    return { low, high };
  }

  /** Nothing passes even if nothing else does. */
  async isPassing(load: number, loss: number, phase: Phase): Promise<boolean> {
    return load === 0 || (await this.#judge(load, loss, phase)) === 'good';
  }

  /** What was sent and came at the load that passes, in the middle of its trials. */
  rateOf(loss: number, phase: Phase, { low, high }: Bounds): FoundRate {
    const passed = this.#at(low, phase).filter((trial) => verdictOf(trial, loss) === 'good');
    const middleOne = passed.toSorted((a, b) => a.sent - b.sent)[Math.floor(passed.length / 2)];
    const perSec = (count = 0): number => (count * 1000) / (middleOne?.tookMs ?? phase.forMs);
    const refusal = high === null ? null : this.#known(high, loss, phase);
    return {
      loss,
      packetsPerSec: perSec(middleOne?.sent),
      receivedPerSec: perSec(middleOne?.received),
      tooHighPacketsPerSec: high,
      limit: refusal === null ? 'maximum' : refusal === 'unsent' ? 'generator' : 'path',
    };
  }

  /** What the majority of trials at a load say; trials made for another loss count too. */
  async #judge(load: number, loss: number, phase: Phase): Promise<Verdict> {
    for (;;) {
      const verdict = this.#known(load, loss, phase);
      if (verdict !== null) return verdict;
      await this.#try(load, phase.forMs);
    }
  }

  #known(load: number, loss: number, phase: Phase): Verdict | null {
    const verdicts = this.#at(load, phase).map((trial) => verdictOf(trial, loss));
    const good = verdicts.filter((verdict) => verdict === 'good').length;
    if (good >= phase.agreeing) return 'good';
    if (verdicts.length - good < phase.agreeing) return null;
    return verdicts.includes('lost') ? 'lost' : 'unsent';
  }

  #isRefused(load: number, loss: number, phase: Phase): boolean {
    const verdict = this.#known(load, loss, phase);
    return verdict !== null && verdict !== 'good';
  }

  #at(load: number, { forMs }: Phase): Trial[] {
    return this.trials.filter((trial) => trial.packetsPerSec === load && trial.forMs === forMs);
  }

  async #try(packetsPerSec: number, forMs: number): Promise<Counted> {
    const counted = await this.#run(packetsPerSec, forMs);
    this.trials.push({ packetsPerSec, forMs, ...counted });
    return counted;
  }

  #within(packetsPerSec: number): number {
    return Math.min(this.most, Math.max(this.#least, Math.round(packetsPerSec)));
  }
}

/** The middle of two loads as ratios go. */
const middle = (low: number, high: number): number => Math.round(Math.sqrt(low * high));

function verdictOf({ packetsPerSec, forMs, sent, received, tookMs = forMs }: Trial, loss: number): Verdict {
  if (sent - received > loss * sent) return 'lost';
  return sent < (OFFERED * packetsPerSec * tookMs) / 1000 ? 'unsent' : 'good';
}
