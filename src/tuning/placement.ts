import { samePlainData } from '../host/same.ts';
import type { MemoryLine } from '../host/supervision.ts';
import { type Bytes, MIB } from '../host/units.ts';
import { type LineAsked, resolveLine } from '../memory/line.ts';
import { runTimes, type Trace } from '../traces/trace.ts';
import { ReplayError } from './errors.ts';
import { type RequestRule, takeRequests } from './requests.ts';

/** One machine and what it carries. */
export interface PlacedMachine {
  readonly name: string;
  readonly series: Int32Array;
  /** The runs of its series, in order of their first moment. */
  readonly runsByStart: Int32Array;
  /** The most that was asked for at one time, by containers alive then. */
  readonly requestPeakBytes: number;
  readonly line: MemoryLine;
}

/** A trace made ready to be replayed, as often as wanted: which container is where, what it asked for, and the lines. */
export interface Placement {
  readonly trace: Trace;
  readonly rule: RequestRule;
  readonly requestBytes: Float64Array;
  readonly machines: readonly PlacedMachine[];
  readonly runStartMs: Float64Array;
  readonly runEndMs: Float64Array;
  /** The runs of series i are those from `firstRun[i]` up to, not including, `firstRun[i + 1]`. */
  readonly firstRun: Int32Array;
}

export interface PlacementAsked extends Omit<LineAsked, 'hardLimitBytes'> {
  readonly request?: RequestRule;
  /** Series i goes to machine i mod this; absent: the source's own machines, or one. */
  readonly machines?: number | undefined;
  /** Of each machine; absent: as recorded, else the machine's own peak of summed requests. */
  readonly hardLimitBytes?: Bytes | undefined;
}

/** Places a trace. Requests are as recorded for recordings, the 99th percentile for other traces, unless told. */
export function place(trace: Trace, asked: PlacementAsked = {}): Placement {
  const rule = asked.request ?? (trace.recorded ? 'recorded' : 'p99');
  if (trace.runs.series.length === 0) throw new ReplayError(`${trace.title}: there is not one sample in it`);
  const requestBytes = takeRequests(trace, rule);
  const { startMs, endMs } = runTimes(trace);
  const members = membersOf(trace, asked.machines);
  const firstRun = firstRuns(trace);
  const machines = members.map(({ name, series }, index): PlacedMachine => {
    const runsByStart = Int32Array.from(
      [...series].flatMap((one) =>
        Array.from({ length: firstRun[one + 1]! - firstRun[one]! }, (_, at) => firstRun[one]! + at),
      ),
    ).sort((a, b) => startMs[a]! - startMs[b]! || a - b);
    const requestPeakBytes = peakOfRequests(trace, requestBytes, runsByStart, startMs, endMs);
    const line = lineOf(recordedLine(trace, asked, index), asked, requestPeakBytes);
    return { name, series, runsByStart, requestPeakBytes, line };
  });
  return { trace, rule, requestBytes, machines, runStartMs: startMs, runEndMs: endMs, firstRun };
}

function membersOf({ names, machineOf, machineNames, title }: Trace, machines: number | undefined) {
  if (machines !== undefined && !(Number.isSafeInteger(machines) && machines >= 1))
    throw new ReplayError(`${machines} machines cannot be: give --machines a whole number, 1 or more`);
  if (machines !== undefined && machines > names.length)
    throw new ReplayError(
      `${title} has ${names.length} containers, too few for ${machines} machines: give --machines at most ${names.length}`,
    );
  const count = machines ?? (machineOf ? machineNames.length : 1);
  const sizes = new Int32Array(count);
  const machine = (series: number): number =>
    machines === undefined && machineOf ? machineOf[series]! : series % count;
  for (let series = 0; series < names.length; series++) sizes[machine(series)]!++;
  const members = Array.from(sizes, (size, index) => ({
    name: machines === undefined && machineOf ? machineNames[index]! : String(index),
    series: new Int32Array(size),
  }));
  const next = new Int32Array(count);
  for (let series = 0; series < names.length; series++) {
    const index = machine(series);
    members[index]!.series[next[index]!++] = series;
  }
  return members;
}

function firstRuns({ names, runs }: Trace): Int32Array {
  const first = new Int32Array(names.length + 1);
  for (const series of runs.series) first[series + 1]!++;
  for (let series = 0; series < names.length; series++) first[series + 1]! += first[series]!;
  return first;
}

/** A run that ends as another begins is counted with it: at that moment both are there. */
function peakOfRequests(
  trace: Trace,
  requestBytes: Float64Array,
  runsByStart: Int32Array,
  startMs: Float64Array,
  endMs: Float64Array,
): number {
  const byEnd = runsByStart.toSorted((a, b) => endMs[a]! - endMs[b]!);
  let ended = 0;
  let sum = 0;
  let peak = 0;
  for (const run of runsByStart) {
    while (endMs[byEnd[ended]!]! < startMs[run]!) sum -= requestBytes[trace.runs.series[byEnd[ended++]!]!]!;
    sum += requestBytes[trace.runs.series[run]!]!;
    peak = Math.max(peak, sum);
  }
  return peak;
}

function lineOf(recorded: MemoryLine | undefined, asked: PlacementAsked, requestPeakBytes: number): MemoryLine {
  const hardLimitBytes =
    asked.hardLimitBytes ?? recorded?.hardLimitBytes ?? (Math.max(MIB, Math.ceil(requestPeakBytes)) as Bytes);
  const shareOf = (bytes: number | undefined): number | undefined =>
    bytes !== undefined && recorded ? bytes / recorded.hardLimitBytes : undefined;
  const killAt = asked.killAt ?? shareOf(recorded?.killAtBytes);
  const line = resolveLine(
    {
      hardLimitBytes,
      killAt,
      stopAt: asked.stopAt ?? (asked.killAt === undefined ? shareOf(recorded?.stopAtBytes) : undefined),
      // A byte more than recorded: the ceiling is cut to whole pages, and must not lose one to the rounding of a share.
      ceiling: asked.ceiling ?? ceilingAbove(killAt, shareOf(recorded && recorded.ceilingBytes + 1)),
      lookEveryMs: asked.lookEveryMs ?? recorded?.lookEveryMs,
    },
    // A trace does not say how much RAM lies above its hard limit: enough for any ceiling.
    hardLimitBytes * 8 + 2 ** 33,
  );
  if (!Number.isSafeInteger(line.lookEveryMs))
    throw new ReplayError(
      `a replay looks at whole milliseconds: give --look-every 1ms or more, not ${line.lookEveryMs} ms`,
    );
  return line;
}

/** The ceiling as recorded; one a little above killAt, where that would not be under it. */
function ceilingAbove(killAt: number | undefined, recorded: number | undefined): number | undefined {
  if (recorded !== undefined && (killAt === undefined || recorded > killAt)) return recorded;
  return killAt !== undefined && killAt >= 1.1 ? killAt * 1.05 : undefined;
}

/** The line that a machine was recorded under. @throws ReplayError where containers go to machines that had none of their own */
function recordedLine({ lines, title }: Trace, asked: PlacementAsked, machine: number): MemoryLine | undefined {
  if (asked.machines === undefined) return lines[machine] ?? undefined;
  const [first, ...others] = lines;
  if (others.every((line) => samePlainData(line, first))) return first ?? undefined;
  if (asked.hardLimitBytes !== undefined) return undefined;
  throw new ReplayError(`${title}: its machines had different hard limits: give --hard-limit, or leave --machines out`);
}
