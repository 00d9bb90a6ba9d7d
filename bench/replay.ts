import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import type { ReplayRound } from './replay-round.ts';
import { type BenchResult, result } from './result.ts';
import { simulatedSpeedup } from './simulation.ts';

export interface ReplayBenchOptions {
  /** Processes to start; the figures are medians over them. */
  readonly runs: number;
  /** Where recorded traces are; absent: a generated trace of the same shape. */
  readonly tracesFolder?: string | undefined;
  readonly onProgress?: (what: string) => void;
}

export interface ReplayBench {
  readonly bench: 'replay';
  readonly environment: { readonly data: string; readonly node: string };
  readonly results: readonly BenchResult[];
}

/** The month that figures are told for: 500 machines' worth of a business data centre, a sample each 300 s. */
const MONTH = '2013-8.';
const SAME_SHAPE = { containers: 500, columns: 8641 };
const SIZES = [500, 5_000, 50_000, 500_000];
/** Eight hours at one sample each 300 s. */
const SCALE_COLUMNS = 96;

/** How fast recorded usage is replayed under gaia, on 20 machines of 128 GiB, and with how much memory; and how fast the full simulated host is. */
export async function replayBench({
  runs,
  tracesFolder,
  onProgress = () => {},
}: ReplayBenchOptions): Promise<ReplayBench> {
  const files = tracesFolder === undefined ? undefined : await monthIn(join(tracesFolder, 'bitbrains-rnd'));
  const rounds: ReplayRound[] = [];
  for (let run = 1; run <= runs; run++) {
    onProgress(`replay: round ${run} of ${runs}`);
    rounds.push(await roundOf(files ?? SAME_SHAPE));
  }
  const results = [
    result(
      'replay.samples_per_cpu_s',
      'samples/s',
      rounds.map(({ warm }) => warm),
    ),
    result(
      'replay.cold_samples_per_cpu_s',
      'samples/s',
      rounds.map(({ cold }) => cold),
    ),
    result(
      'replay.tight_samples_per_cpu_s',
      'samples/s',
      rounds.map(({ tight }) => tight),
    ),
    result(
      'replay.tight_kills',
      'kills',
      rounds.map(({ tightKills }) => tightKills),
    ),
    result(
      'replay.peak_rss_bytes',
      'bytes',
      rounds.map(({ peakRssBytes }) => peakRssBytes),
    ),
    result(
      'replay.load_ms',
      'ms',
      rounds.map(({ loadMs }) => loadMs),
    ),
    result(
      'replay.samples',
      'samples',
      rounds.map(({ samples }) => samples),
    ),
  ];
  for (const containers of SIZES) {
    const costs: number[] = [];
    for (let run = 1; run <= runs; run++) {
      onProgress(`replay: ${containers} containers, round ${run} of ${runs}`);
      costs.push((await roundOf({ containers, columns: SCALE_COLUMNS })).nsPerSample);
    }
    results.push(result(`replay.ns_per_sample_${containers}`, 'ns', costs));
  }
  const speedups: number[] = [];
  for (let run = 0; run <= runs; run++) {
    onProgress(run === 0 ? 'simulated host: warming up' : `simulated host: round ${run} of ${runs}`);
    const speedup = await simulatedSpeedup();
    // The first hour compiles the code; a simulation worth waiting for lasts longer than that.
    if (run > 0) speedups.push(speedup);
  }
  results.push(result('sim.speedup', 'simulated s / CPU s', speedups));
  return {
    bench: 'replay',
    environment: {
      data: files
        ? 'bitbrains-rnd 2013-8, 20 machines of 128 GiB'
        : 'generated, of the shape of bitbrains-rnd 2013-8 (PLIMSOLL_TRACES is not set), 20 machines of 128 GiB',
      node: process.version,
    },
    results,
  };
}

async function monthIn(folder: string): Promise<string[]> {
  return (await readdir(folder))
    .filter((name) => name.startsWith(MONTH))
    .map((name) => join(folder, name))
    .sort();
}

async function roundOf(what: readonly string[] | { containers: number; columns: number }): Promise<ReplayRound> {
  const entry = fileURLToPath(
    new URL(`replay-round${import.meta.url.endsWith('.ts') ? '.ts' : '.js'}`, import.meta.url),
  );
  const { stdout } = await execa(process.execPath, [entry, JSON.stringify(what)]);
  return JSON.parse(stdout) as ReplayRound;
}
