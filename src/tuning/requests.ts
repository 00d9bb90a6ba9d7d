import type { Trace } from '../traces/trace.ts';
import { ReplayError } from './errors.ts';

/** How requests are taken: as recorded, or as a percentile of what the container itself used. */
export const REQUEST_RULES = ['p50', 'p90', 'p99', 'max', 'recorded'] as const;
export type RequestRule = (typeof REQUEST_RULES)[number];

const SHARE: Readonly<Record<Exclude<RequestRule, 'recorded'>, number>> = { p50: 0.5, p90: 0.9, p99: 0.99, max: 1 };

/** What each container asked for. @throws ReplayError where it is to be as recorded and was not */
export function takeRequests(trace: Trace, rule: RequestRule): Float64Array {
  if (rule === 'recorded') {
    const missing = trace.requestBytes.reduce((count, request) => count + Number(Number.isNaN(request)), 0);
    if (missing > 0)
      throw new ReplayError(
        `${trace.title}: ${missing} of ${trace.names.length} containers have no recorded request; take --request p50, p90, p99 or max`,
      );
    return trace.requestBytes;
  }
  return percentiles(trace, SHARE[rule]);
}

/** The nearest-rank percentile of each container's own samples: the smallest value that at least this share do not pass. */
export function percentiles(
  { runs, usageBytes, names }: Pick<Trace, 'runs' | 'usageBytes' | 'names'>,
  share: number,
): Float64Array {
  const result = new Float64Array(names.length);
  let run = 0;
  let scratch = new Float32Array(0);
  while (run < runs.series.length) {
    const series = runs.series[run]!;
    const from = runs.from[run]!;
    let end = from;
    for (; run < runs.series.length && runs.series[run] === series; run++) end = runs.from[run]! + runs.count[run]!;
    const count = end - from;
    if (count > scratch.length) scratch = new Float32Array(count * 2);
    const own = scratch.subarray(0, count);
    own.set(usageBytes.subarray(from, end));
    result[series] = select(own, Math.max(0, Math.ceil(share * count) - 1));
  }
  return result;
}

/** The value that would stand at `rank` if the values were sorted (Hoare's quickselect); they are left reordered. */
function select(values: Float32Array, rank: number): number {
  let low = 0;
  let high = values.length - 1;
  while (low < high) {
    const pivot = values[(low + high) >> 1]!;
    let i = low;
    let j = high;
    while (i <= j) {
      while (values[i]! < pivot) i++;
      while (values[j]! > pivot) j--;
      if (i <= j) {
        const swapped = values[i]!;
        values[i++] = values[j]!;
        values[j--] = swapped;
      }
    }
    if (rank <= j) high = j;
    else if (rank >= i) low = i;
    else break;
  }
  return values[rank]!;
}
