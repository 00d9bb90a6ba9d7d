/**
 * One round of the replay bench, in a process of its own so that nothing is warm that should be cold:
 * `node bench/replay-round.ts` with a JSON array of files, or `{ "containers": N, "columns": N }`, as its argument.
 * Prints one JSON line.
 */
import { GIB, type Bytes } from '../src/host/units.ts';
import { readTraceAt } from '../src/commands/traces.ts';
import { gaia } from '../src/memory/policies/gaia.ts';
import { place, type Placement } from '../src/tuning/placement.ts';
import { replay } from '../src/tuning/replay.ts';
import { generateFleet } from './fleet.ts';

/** What one round found. Rates are samples read and summed in a CPU second. */
export interface ReplayRound {
  readonly samples: number;
  readonly loadMs: number;
  readonly cold: number;
  readonly warm: number;
  /** The same on machines of a quarter of the memory, where the loop is busy. */
  readonly tight: number;
  readonly kills: number;
  readonly tightKills: number;
  readonly nsPerSample: number;
  readonly peakRssBytes: number;
}

const REPEATS = 10;
const ENOUGH_SAMPLES = 25_000_000;
const CONTAINERS_A_MACHINE = 25;
const MACHINE_BYTES = 128 * GIB;

const what = JSON.parse(process.argv[2] ?? 'null') as readonly string[] | { containers: number; columns: number };
const loadFrom = performance.now();
const trace = Array.isArray(what)
  ? await readTraceAt(what)
  : generateFleet({ ...(what as { containers: number; columns: number }), stepMs: 300_000, seed: 2013 });
const loadMs = performance.now() - loadFrom;
const machines = Math.max(1, Math.round(trace.names.length / CONTAINERS_A_MACHINE));
const roomy = place(trace, { machines, hardLimitBytes: MACHINE_BYTES as Bytes });

const cold = timed(roomy, 1);
// Ten times, as the figure is defined; more of a small trace, so that there is enough to measure, and fewer of a huge one.
const repeats = Math.ceil(
  Math.max(ENOUGH_SAMPLES, Math.min(REPEATS * cold.samples, 2 * ENOUGH_SAMPLES)) / cold.samples,
);
const warm = timed(roomy, repeats);
const peakRssBytes = process.resourceUsage().maxRSS * 1024;
const tight = timed(
  place(trace, { machines, hardLimitBytes: (MACHINE_BYTES / 4) as Bytes }),
  Math.min(repeats, REPEATS),
);

const round: ReplayRound = {
  samples: cold.samples,
  loadMs,
  cold: cold.rate,
  warm: warm.rate,
  tight: tight.rate,
  kills: cold.kills,
  tightKills: tight.kills,
  nsPerSample: 1e9 / warm.rate,
  peakRssBytes,
};
process.stdout.write(`${JSON.stringify(round)}\n`);

function timed(placement: Placement, repeats: number): { rate: number; samples: number; kills: number } {
  let samples = 0;
  let kills = 0;
  const before = process.cpuUsage();
  for (let repeat = 0; repeat < repeats; repeat++) {
    const { summary } = replay(placement, gaia);
    samples += summary.samples;
    kills += summary.kills;
  }
  const { user, system } = process.cpuUsage(before);
  return { rate: (samples * 1e6) / (user + system), samples: samples / repeats, kills: kills / repeats };
}
