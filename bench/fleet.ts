import { createRandom } from '../src/host/random.ts';
import { GIB, MIB } from '../src/host/units.ts';
import { makeTrace, type Trace } from '../src/traces/trace.ts';

export interface FleetShape {
  readonly containers: number;
  readonly columns: number;
  readonly stepMs: number;
  readonly seed: number;
}

/**
 * Usage of many containers on one grid: heavy-tailed sizes (few large, many small), a daily wave, noise, and bursts to
 * several times the usual. Every eleventh container begins late, as in recorded traces.
 */
export function generateFleet({ containers, columns, stepMs, seed }: FleetShape): Trace {
  const random = createRandom(seed);
  const from = new Int32Array(containers);
  const count = new Int32Array(containers);
  const firstColumn = new Int32Array(containers);
  let samples = 0;
  for (let series = 0; series < containers; series++) {
    firstColumn[series] = series % 11 === 10 ? Math.floor(random.next() * columns * 0.5) : 0;
    from[series] = samples;
    count[series] = columns - firstColumn[series]!;
    samples += count[series]!;
  }
  const usageBytes = new Float32Array(samples);
  const columnsADay = (24 * 3_600_000) / stepMs;
  for (let series = 0; series < containers; series++) {
    // Pareto with exponent 1.2, from 256 MiB and cut at 24 GiB.
    const usual = Math.min(24 * GIB, (256 * MIB) / (1 - random.next()) ** (1 / 1.2));
    const phase = random.next() * columnsADay;
    let burst = 0;
    for (let index = 0; index < count[series]!; index++) {
      const noise = random.next();
      if (noise > 0.999) burst = 3;
      burst *= 0.9;
      const wave = 1 + 0.3 * Math.sin((2 * Math.PI * (index + phase)) / columnsADay);
      usageBytes[from[series]! + index] = Math.round(usual * (wave + 0.2 * noise + burst));
    }
  }
  return makeTrace(
    {
      title: `a generated fleet of ${containers} containers (seed ${seed})`,
      importer: 'generated',
      names: Array.from({ length: containers }, (_, index) => `c${index}`),
      requestBytes: new Float64Array(containers).fill(Number.NaN),
    },
    {
      clock: { kind: 'grid', stepMs, columns },
      usageBytes,
      runs: { series: Int32Array.from({ length: containers }, (_, index) => index), from, count, firstColumn },
      spanMs: (columns - 1) * stepMs,
    },
  );
}
