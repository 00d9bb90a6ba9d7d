import { createRandom, type Random } from '../host/random.ts';
import { GIB, MIB } from '../host/units.ts';
import { makeTrace, type Trace } from './trace.ts';

const STEP_MS = 10_000;
const DAY_MS = 24 * 3_600_000;
const HOUR_MS = 3_600_000;
const COLUMNS = DAY_MS / STEP_MS + 1;

/** The hard limit that the generated day is made for: 64 GiB of a machine of 72. */
export const DAY_HARD_LIMIT_BYTES = 64 * GIB;

/** One container of the day: what it asked for, when it runs, and its use at an hour of the day. */
interface Tenant {
  readonly name: string;
  readonly requestBytes: number;
  readonly fromMs: number;
  readonly toMs: number;
  readonly bytesAt: (ms: number) => number;
  /** Size of the noise, as a share of use. */
  readonly noise: number;
}

/**
 * A day of one oversold machine, as an operator would know it: services that follow the day, stores that fill slowly,
 * jobs that ask for their usual and now and then need more, and two services that leak. Requests add up to more than
 * the hard limit. The same seed gives the same day.
 */
export function generateDay(seed: number): Trace {
  const random = createRandom(seed);
  const tenants = [
    ...services(random.fork('services')),
    ...stores(random.fork('stores')),
    ...jobs(random.fork('jobs')),
    ...leaks(random.fork('leaks')),
  ];
  const series: number[] = [];
  const from: number[] = [];
  const count: number[] = [];
  const firstColumn: number[] = [];
  const samples: number[] = [];
  for (const [index, tenant] of tenants.entries()) {
    const noise = random.fork(tenant.name);
    const first = Math.ceil(tenant.fromMs / STEP_MS);
    const last = Math.min(COLUMNS - 1, Math.floor(tenant.toMs / STEP_MS));
    series.push(index);
    from.push(samples.length);
    count.push(last - first + 1);
    firstColumn.push(first);
    let drift = 0;
    for (let column = first; column <= last; column++) {
      // First-order autoregressive: use wanders for some minutes rather than flickering.
      drift = drift * 0.97 + (noise.next() - 0.5) * 0.48;
      samples.push(Math.max(MIB, Math.round(tenant.bytesAt(column * STEP_MS) * (1 + tenant.noise * drift))));
    }
  }
  return makeTrace(
    {
      title: `a generated day of one oversold machine (seed ${seed})`,
      importer: 'generated',
      names: tenants.map(({ name }) => name),
      requestBytes: Float64Array.from(tenants, ({ requestBytes }) => requestBytes),
    },
    {
      clock: { kind: 'grid', stepMs: STEP_MS, columns: COLUMNS },
      usageBytes: Float32Array.from(samples),
      runs: {
        series: Int32Array.from(series),
        from: Int32Array.from(from),
        count: Int32Array.from(count),
        firstColumn: Int32Array.from(firstColumn),
      },
      spanMs: DAY_MS,
    },
  );
}

/** From 0 in the small hours to 1 in the evening, with a first rise at noon. */
const daylight = (ms: number): number => {
  const hour = ms / HOUR_MS;
  const bell = (at: number, width: number): number => Math.exp(-(((hour - at) / width) ** 2));
  return Math.min(1, 0.75 * bell(12.5, 2.6) + bell(20, 2.3));
};

const between = (random: Random, low: number, high: number): number => low + random.next() * (high - low);

function services(random: Random): Tenant[] {
  return Array.from({ length: 28 }, (_, index) => {
    const base = between(random, 0.35, 0.9) * GIB;
    const swing = between(random, 0.4, 1.3) * GIB;
    // People ask for about what they once saw at a peak, some of them for less.
    const requestBytes = roundUp(base + swing * between(random, 0.72, 1.45));
    return {
      name: `web-${index + 1}`,
      requestBytes,
      fromMs: 0,
      toMs: DAY_MS,
      bytesAt: (ms: number) => base + swing * daylight(ms),
      noise: 0.06,
    };
  });
}

function stores(random: Random): Tenant[] {
  return Array.from({ length: 10 }, (_, index) => {
    const base = between(random, 1, 2.2) * GIB;
    const growth = between(random, 0.1, 0.6) * GIB;
    const requestBytes = roundUp(base + growth * between(random, 1.2, 2));
    return {
      name: `store-${index + 1}`,
      requestBytes,
      fromMs: 0,
      toMs: DAY_MS,
      bytesAt: (ms: number) => base + (growth * ms) / DAY_MS,
      noise: 0.02,
    };
  });
}

function jobs(random: Random): Tenant[] {
  return Array.from({ length: 36 }, (_, index) => {
    const fromMs = between(random, 0, 22.5) * HOUR_MS;
    const lastsMs = between(random, 0.3, 1.5) * HOUR_MS;
    const usual = between(random, 0.8, 2.6) * GIB;
    // One in four meets an input larger than usual.
    const peak = usual * (index % 4 === 0 ? between(random, 1.15, 1.9) : between(random, 0.7, 0.98));
    const bytesAt = (ms: number): number => {
      const share = (ms - fromMs) / lastsMs;
      return peak * Math.min(1, 0.15 + share * 1.4) * (share > 0.9 ? 0.6 : 1);
    };
    return {
      name: `job-${index + 1}`,
      requestBytes: roundUp(usual),
      fromMs,
      toMs: fromMs + lastsMs,
      bytesAt,
      noise: 0.04,
    };
  });
}

function leaks(random: Random): Tenant[] {
  return [1, 2].map((index) => {
    const fromMs = index === 1 ? 0 : 15 * HOUR_MS;
    const perHour = between(random, 0.5, 0.7) * GIB * index;
    const base = between(random, 0.5, 0.8) * GIB;
    return {
      name: `leaky-${index}`,
      requestBytes: 2 * GIB,
      fromMs,
      toMs: DAY_MS,
      bytesAt: (ms: number) => base + (perHour * (ms - fromMs)) / HOUR_MS,
      noise: 0.02,
    };
  });
}

const roundUp = (value: number): number => Math.ceil(value / (128 * MIB)) * 128 * MIB;
