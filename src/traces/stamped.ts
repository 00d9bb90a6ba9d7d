import { float32s, float64s, int32s } from './columns.ts';
import type { Trace } from './trace.ts';

/** Gathers samples that each have a moment of their own, in any order of series, and lays them out series after series. */
export class StampedSamples {
  readonly #series = int32s();
  readonly #timesMs = float64s();
  readonly #usageBytes = float32s();
  readonly #lastMs: number[] = [];

  /** The last moment of a series, or -Infinity. */
  lastMs(series: number): number {
    return this.#lastMs[series] ?? Number.NEGATIVE_INFINITY;
  }

  /** A sample; NaN says that the series is off from here. The caller sees to it that times rise. */
  add(series: number, timeMs: number, usageBytes: number): void {
    this.#series.push(series);
    this.#timesMs.push(timeMs);
    this.#usageBytes.push(usageBytes);
    this.#lastMs[series] = timeMs;
  }

  get length(): number {
    return this.#series.length;
  }

  /** All samples in the form of a trace; times count from `originMs`, by series where each has an origin of its own. */
  layOut(
    seriesCount: number,
    originMs: (series: number) => number,
  ): Pick<Trace, 'clock' | 'usageBytes' | 'runs' | 'spanMs'> {
    const series = this.#series.values;
    const offsets = new Int32Array(seriesCount + 1);
    const given = this.#usageBytes.values;
    for (let index = 0; index < series.length; index++) offsets[series[index]! + 1]!++;
    for (let index = 0; index < seriesCount; index++) offsets[index + 1]! += offsets[index]!;
    const order = new Int32Array(series.length);
    const next = offsets.slice();
    for (let index = 0; index < series.length; index++) order[next[series[index]!]!++] = index;

    const usageBytes = new Float32Array(series.length);
    const timesMs = new Float64Array(series.length);
    const runs = { series: int32s(), from: int32s(), count: int32s() };
    let length = 0;
    let spanMs = 0;
    for (let one = 0; one < seriesCount; one++) {
      let from = length;
      const close = (): void => {
        if (length === from) return;
        runs.series.push(one);
        runs.from.push(from);
        runs.count.push(length - from);
        spanMs = Math.max(spanMs, timesMs[length - 1]!);
        from = length;
      };
      const origin = originMs(one);
      for (let at = offsets[one]!; at < offsets[one + 1]!; at++) {
        const index = order[at]!;
        const value = given[index]!;
        if (Number.isNaN(value)) close();
        else {
          usageBytes[length] = value;
          timesMs[length++] = Math.round(this.#timesMs.values[index]! - origin);
        }
      }
      close();
    }
    return {
      clock: { kind: 'stamps', timesMs: timesMs.subarray(0, length) },
      usageBytes: usageBytes.subarray(0, length),
      runs: {
        series: runs.series.values.slice(),
        from: runs.from.values.slice(),
        count: runs.count.values.slice(),
        firstColumn: new Int32Array(runs.series.length),
      },
      spanMs,
    };
  }
}
