import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import type { MemoryLine } from '../../src/host/supervision.ts';
import type { Bytes, Milliseconds } from '../../src/host/units.ts';
import { POLICIES } from '../../src/memory/policies.ts';
import type { MemoryPolicy } from '../../src/memory/policy.ts';
import { readTrace } from '../../src/traces/read.ts';
import { place } from '../../src/tuning/placement.ts';
import { replay } from '../../src/tuning/replay.ts';
import { REQUEST_RULES } from '../../src/tuning/requests.ts';
import { Reach, runs } from './reach.ts';
import { referenceReplay } from './replay-reference.ts';

const noLimits: MemoryPolicy['limits'] = (requestBytes) => ({
  parentBytes: null,
  childBytes: requestBytes.map(() => null),
});

/** A user's policies: one that is asked at every look and follows no order, one that kills several at once. */
const OWN: readonly MemoryPolicy[] = [
  {
    name: 'whimsical',
    about: 'kills where the total happens to be a multiple of 7',
    needs: ['workingSet'],
    limits: noLimits,
    decide: ({ count, killable, totalBytes }) => {
      const index = totalBytes % 7 === 0 && totalBytes > 0 ? killable.subarray(0, count).lastIndexOf(1) : -1;
      return index < 0 ? [] : [{ index, reason: 'a multiple of 7' }];
    },
  },
  {
    name: 'all-over',
    about: 'kills all that are over their request',
    needs: ['excess'],
    limits: (requestBytes, line) => ({
      parentBytes: line.ceilingBytes,
      childBytes: requestBytes.map((request, index) => (index % 2 === 0 ? request * 2 : null)),
    }),
    actsAboveBytes: (line) => line.killAtBytes,
    decide: ({ count, workingSetBytes, requestBytes, killable, killedInLook }) =>
      killedInLook > 0
        ? []
        : Array.from({ length: count }, (_, index) => index)
            .filter((index) => killable[index] === 1 && workingSetBytes[index]! > requestBytes[index]!)
            .map((index) => ({ index, reason: 'over' })),
  },
];

/** The default more often than the others: ties are its rule's. */
const policies = [...POLICIES, POLICIES[0]!, POLICIES[0]!, ...OWN];
const usage = fc.oneof({ weight: 1, arbitrary: fc.nat(40) }, { weight: 1, arbitrary: fc.constantFrom(0, 10, 20) });
const cell = fc.option(usage, { freq: 8, nil: '' });

/** Containers that do the same as the first, for ties; later in the trace, earlier by name. */
const twins = fc.integer({ min: 0, max: 2 });

/** A column a container. */
const gridText = fc
  .record({
    containers: fc.integer({ min: 1, max: 6 }),
    columns: fc.integer({ min: 1, max: 6 }),
    stepMs: fc.integer({ min: 1, max: 90 }),
    twins,
  })
  .chain(({ containers, columns, stepMs, twins }) =>
    fc
      .array(fc.array(cell, { minLength: containers, maxLength: containers }), {
        minLength: columns,
        maxLength: columns,
      })
      .map((rows) => {
        const names = [...Array.from({ length: containers }, (_, index) => `c${index}`), ...['b', 'a'].slice(0, twins)];
        const lines = rows.map((row, at) => [at * stepMs, ...row, ...Array<number | string>(twins).fill(row[0]!)]);
        return [['t_ms', ...names], ...lines].map((line) => line.join(',')).join('\n');
      }),
  );

/** A row a sample, each at a moment of its own. */
const stampText = fc
  .record({
    // Long enough that windows of some samples each are several, and now and then one sample spans many.
    series: fc.array(
      fc.array(
        fc.tuple(
          fc.oneof(
            { weight: 5, arbitrary: fc.integer({ min: 1, max: 6 }) },
            fc.nat(80).map((more) => more + 1),
          ),
          cell,
        ),
        {
          minLength: 1,
          maxLength: 30,
          size: 'max',
        },
      ),
      { minLength: 1, maxLength: 6 },
    ),
    twins,
  })
  .map(({ series, twins }) => {
    const rows = [...series, ...Array<(typeof series)[number]>(twins).fill(series[0]!)].flatMap((samples, index) => {
      const name = index < series.length ? `c${index}` : ['b', 'a'][index - series.length]!;
      let atMs = index < series.length ? index * 7 : 0;
      return samples.map(([delayMs, bytes]) => `${name},${(atMs += delayMs)},${bytes}`);
    });
    return ['container,t_ms,mem_bytes', ...rows].join('\n');
  });

const lines = fc
  .record({
    hardLimit: fc.integer({ min: 1, max: 120 }),
    killAt: fc.integer({ min: -10, max: 15 }),
    stopAt: fc.integer({ min: 0, max: 10 }),
    ceiling: fc.integer({ min: 1, max: 40 }),
    lookEveryMs: fc.constantFrom(1, 3, 10, 25),
  })
  .map(({ hardLimit, killAt, stopAt, ceiling, lookEveryMs }): MemoryLine => {
    const killAtBytes = Math.max(0, hardLimit + killAt);
    return {
      hardLimitBytes: hardLimit as Bytes,
      killAtBytes: killAtBytes as Bytes,
      stopAtBytes: Math.max(0, killAtBytes - stopAt) as Bytes,
      ceilingBytes: (killAtBytes + ceiling) as Bytes,
      lookEveryMs: lookEveryMs as Milliseconds,
    };
  });

test(
  'a replay that skips comes to the same as one that looks at every millisecond',
  { timeout: 1_200_000 },
  async () => {
    const reach = new Reach([
      'killed by the supervisor',
      'killed by the kernel',
      'ties',
      'several kills',
      'gaps',
      'grid',
      'own moments',
      'above the limit',
    ]);
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(gridText, stampText),
        lines,
        fc.constantFrom(...policies),
        fc.constantFrom(...REQUEST_RULES.filter((rule) => rule !== 'recorded')),
        fc.integer({ min: 1, max: 3 }),
        async (text, line, policy, request, machines) => {
          const trace = await readTrace([{ name: 'generated.csv', chunks: [new TextEncoder().encode(text)] }], {
            unitBytes: 1,
          });
          if (trace.runs.series.length === 0) return;
          const placed = place(trace, { request, machines: Math.min(machines, trace.names.length) });
          const placement = { ...placed, machines: placed.machines.map((machine) => Object.assign(machine, { line })) };
          const expected = referenceReplay(placement, policy);
          const { kills, summary } = replay(placement, policy);
          const told = kills.map(
            (kill) => `${kill.atMs} ${kill.machine} ${kill.container} ${kill.by} ${kill.overBytes}`,
          );
          expect(told.toSorted()).toEqual(expected.kills);
          expect(summary.machineTimeOverHardLimitMs).toBe(expected.overHardLimitMs);
          // Between samples each container is rounded by itself, and a peak found at a sample may miss that much.
          expect(Math.abs(summary.peakTotalBytes - expected.peakTotalBytes)).toBeLessThanOrEqual(trace.names.length);
          reach.add([
            ...(summary.killsBySupervisor > 0 ? ['killed by the supervisor'] : []),
            ...(summary.killsByKernel > 0 ? ['killed by the kernel'] : []),
            ...(expected.ties > 0 ? ['ties'] : []),
            ...(kills.length > 1 ? ['several kills'] : []),
            ...(trace.runs.series.length > trace.names.length ? ['gaps'] : []),
            trace.clock.kind === 'grid' ? 'grid' : 'own moments',
            ...(summary.machineTimeOverHardLimitMs > 0 ? ['above the limit'] : []),
          ]);
        },
      ),
      runs(20_000),
    );
    reach.demand();
  },
);
