import { z } from 'zod';
import type { MemoryCurve, Workload } from '../host/workload.ts';
import { duration, exactlyOne, period, size, strict } from './fields.ts';

const CURVES = {
  constant: size.transform((bytes): MemoryCurve => ({ kind: 'constant', bytes })),
  ramp: strict({ from: size, to: size, start: duration.default(0 as never), over: duration }).transform(
    ({ from, to, start, over }): MemoryCurve => ({ kind: 'ramp', from, to, startMs: start, overMs: over }),
  ),
  sawtooth: strict({ low: size, high: size, period }).transform(({ low, high, period }): MemoryCurve => ({
    kind: 'sawtooth',
    low,
    high,
    periodMs: period,
  })),
  burst: strict({ base: size, peak: size, at: duration, rise: duration, hold: duration, every: period.optional() })
    .refine(({ at, rise, hold, every }) => every === undefined || every >= at + rise + hold, {
      message: 'every is shorter than at + rise + hold together: make it longer',
      path: ['every'],
    })
    .transform(({ base, peak, at, rise, hold, every }): MemoryCurve => ({
      kind: 'burst',
      base,
      peak,
      atMs: at,
      riseMs: rise,
      holdMs: hold,
      ...(every !== undefined && { everyMs: every }),
    })),
  leak: strict({ from: size, perSecond: size, upTo: size.optional() })
    .refine(({ from, upTo }) => upTo === undefined || upTo >= from, {
      message: 'upTo is below from: a leak grows',
      path: ['upTo'],
    })
    .transform(({ from, perSecond, upTo }): MemoryCurve => ({
      kind: 'leak',
      from,
      bytesPerSecond: perSecond,
      ...(upTo !== undefined && { upTo }),
    })),
  trace: z
    .array(z.tuple([duration, size]))
    .min(1, 'a trace needs at least one point: [0s, 10Mi]')
    .refine(
      (points) => points.every(([ageMs], index) => index === 0 || ageMs > points[index - 1]![0]),
      'the ages of a trace must rise from point to point',
    )
    .transform((points): MemoryCurve => ({ kind: 'trace', points })),
};

const CURVE_NAMES = Object.keys(CURVES) as (keyof typeof CURVES)[];

/** What a container does with memory: `{ ramp: { from: 10Mi, to: 90Mi, over: 4s } }` and what goes with it. */
export const workload = strict({
  constant: CURVES.constant.optional(),
  ramp: CURVES.ramp.optional(),
  sawtooth: CURVES.sawtooth.optional(),
  burst: CURVES.burst.optional(),
  leak: CURVES.leak.optional(),
  trace: CURVES.trace.optional(),
  cache: strict({ size, perSecond: size, activeShare: z.number().min(0).max(1).optional() }).optional(),
  processes: z.int().min(1).max(1000).optional(),
  shared: z.boolean().optional(),
  endsAfter: period.optional(),
})
  .superRefine(exactlyOne(CURVE_NAMES, 'a workload'))
  .transform(({ cache, processes, shared, endsAfter, ...curves }): Workload => {
    const memory = CURVE_NAMES.map((curve) => curves[curve]).find((curve) => curve !== undefined)!;
    return {
      memory,
      ...(cache && {
        cache: {
          bytes: cache.size,
          bytesPerSecond: cache.perSecond,
          ...(cache.activeShare !== undefined && { activeShare: cache.activeShare }),
        },
      }),
      ...(processes !== undefined && { processes }),
      ...(shared !== undefined && { shared }),
      ...(endsAfter !== undefined && { endsAfterMs: endsAfter }),
    };
  });
