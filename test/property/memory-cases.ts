import fc from 'fast-check';
import type { DesiredContainer } from '../../src/engine/desired.ts';
import type { MemoryLine } from '../../src/host/supervision.ts';
import { type Bytes, MIB, type Milliseconds } from '../../src/host/units.ts';
import { memoryPieces, type MemoryCurve, pieceAt, type Workload } from '../../src/host/workload.ts';

/** A machine's load and its line, as a property draws them. */
export interface MemoryCase {
  readonly seed: number;
  readonly cgroupVersion: 1 | 2;
  readonly line: MemoryLine;
  readonly containers: readonly DesiredContainer[];
  readonly lastsMs: number;
  /** Decide but do not kill, until the change. */
  readonly dry?: boolean;
  /** What is asked is changed in the middle: another line, and another request for everybody. */
  readonly change?: { readonly atMs: number; readonly scale: number; readonly requestScale: number };
}

/** The case as it is asked for after its change. */
export function changed({ line, containers, change, ...rest }: MemoryCase): MemoryCase {
  if (change === undefined) return { line, containers, ...rest };
  const scaled = (bytes: number): Bytes => Math.round(bytes * change.scale) as Bytes;
  return {
    ...rest,
    dry: false,
    line: {
      hardLimitBytes: scaled(line.hardLimitBytes),
      killAtBytes: scaled(line.killAtBytes),
      stopAtBytes: scaled(line.stopAtBytes),
      ceilingBytes: scaled(line.ceilingBytes),
      lookEveryMs: line.lookEveryMs,
    },
    containers: containers.map((container) => ({
      ...container,
      requestBytes: Math.round(container.requestBytes * change.requestScale) as Bytes,
    })),
  };
}

const LASTS_MS = 5000;

const mebibytes = (min: number, max: number): fc.Arbitrary<Bytes> =>
  fc.integer({ min, max }).map((value) => (value * MIB) as Bytes);
const within = (min: number, max: number): fc.Arbitrary<Milliseconds> =>
  fc.integer({ min, max }).map((value) => value as Milliseconds);

const curve: fc.Arbitrary<MemoryCurve> = fc.oneof(
  fc.record({ kind: fc.constant('constant' as const), bytes: mebibytes(1, 200) }),
  fc.record({
    kind: fc.constant('ramp' as const),
    from: mebibytes(0, 100),
    to: mebibytes(0, 300),
    startMs: within(0, 3000),
    overMs: within(0, 3000),
  }),
  fc
    .tuple(mebibytes(1, 50), mebibytes(51, 250), within(200, 3000))
    .map(([low, high, periodMs]) => ({ kind: 'sawtooth' as const, low, high, periodMs })),
  fc.record({
    kind: fc.constant('burst' as const),
    base: mebibytes(1, 50),
    peak: mebibytes(51, 400),
    atMs: within(100, 3000),
    riseMs: within(0, 500),
    holdMs: within(50, 1000),
  }),
  fc.record({ kind: fc.constant('leak' as const), from: mebibytes(1, 50), bytesPerSecond: mebibytes(1, 100) }),
);

const workload: fc.Arbitrary<Workload> = fc.record(
  {
    memory: curve,
    cache: fc.record({
      bytes: mebibytes(1, 200),
      bytesPerSecond: mebibytes(10, 300),
      activeShare: fc.constantFrom(0, 0.5),
    }),
    processes: fc.integer({ min: 1, max: 3 }),
    shared: fc.constantFrom(true, false, false, false),
    endsAfterMs: within(500, 6000),
  },
  { requiredKeys: ['memory'], noNullPrototype: true },
);

/** Some ask for the same and do the same as the one before: ties. */
const containers: fc.Arbitrary<DesiredContainer[]> = fc
  .array(
    fc.record({
      requestBytes: mebibytes(1, 250),
      priority: fc.integer({ min: 0, max: 2 }),
      workload,
      twin: fc.boolean(),
    }),
    { minLength: 2, maxLength: 8 },
  )
  .map((drawn) => {
    const all: DesiredContainer[] = [];
    for (const [index, { twin, ...one }] of drawn.entries()) {
      const before = all[index - 1];
      all.push({ ...(twin && before !== undefined ? before : one), name: `c${index}` });
    }
    return all;
  });

/** Loads whose peaks stand around the line, so that about half of them pass it. */
export const memoryCase: fc.Arbitrary<MemoryCase> = fc
  .record({
    seed: fc.nat(),
    cgroupVersion: fc.constantFrom(1 as const, 2 as const),
    containers,
    hardShare: fc.integer({ min: 35, max: 110 }),
    killAt: fc.constantFrom(0.9, 1, 1.05, 1.05, 1.2),
    stopShare: fc.constantFrom(0.8, 0.95, 1, 1),
    ceiling: fc.constantFrom(1.02, 1.1, 1.5),
    lookEveryMs: fc.constantFrom(10, 50, 100, 500),
    dry: fc.constantFrom(false, false, false, true),
    change: fc.option(
      fc.record({
        atMs: fc.integer({ min: 500, max: 3500 }),
        scale: fc.constantFrom(0.4, 0.8, 1, 1.4),
        requestScale: fc.constantFrom(0.5, 1, 1, 1.5),
      }),
      { nil: undefined },
    ),
  })
  .map(({ hardShare, killAt, stopShare, ceiling, lookEveryMs, dry, change, ...rest }) => {
    const peak = rest.containers.reduce((sum, { workload: { memory } }) => sum + peakOf(memory), 0);
    const hard = Math.max(8 * MIB, (peak * hardShare) / 100);
    const line = {
      hardLimitBytes: Math.round(hard),
      killAtBytes: Math.round(hard * killAt),
      stopAtBytes: Math.round(hard * Math.min(1, killAt) * stopShare),
      ceilingBytes: Math.round(hard * killAt * ceiling),
      lookEveryMs,
    } as MemoryLine;
    return { ...rest, line, lastsMs: LASTS_MS, ...(change && { change, dry }) };
  });

function peakOf(memory: MemoryCurve): number {
  const pieces = memoryPieces(memory);
  const piece = { value: 0, slope: 0, untilMs: 0 };
  let peak = 0;
  for (let ageMs = 0; ageMs <= LASTS_MS; ageMs += 100) peak = Math.max(peak, pieceAt(pieces, ageMs, piece).value);
  return peak;
}
