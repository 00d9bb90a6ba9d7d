import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Fault } from '../../backends/sim/faults.ts';
import { readAsked } from '../../src/engine/asked.ts';
import { changed, memoryCase } from './memory-cases.ts';
import { desiredOf, HOST, leftovers, type MemoryRun, runMemory, settle } from './memory-run.ts';
import { Reach, runs } from './reach.ts';

const errno = fc.constantFrom('EBUSY' as const, 'EIO' as const, 'EAGAIN' as const, 'ENOSPC' as const);
const delay = fc.constantFrom(5, 50, 300, 1200).map((delayMs) => ({ delayMs }));
const place = {
  atMs: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 2000 })),
  nth: fc.integer({ min: 1, max: 2 }),
  times: fc.integer({ min: 1, max: 6 }),
};

const refusals: fc.Arbitrary<Fault> = fc.record({
  on: fc.constantFrom(
    'cgroups.create',
    'cgroups.limit',
    'cgroups.remove',
    'cgroups.list',
    'containers.start',
    'containers.stop',
    'containers.list',
    'supervision.supervise',
    'supervision.list',
    'store.commit',
    'store.read',
  ),
  do: fc.oneof(
    errno.map((fail) => ({ fail })),
    delay,
  ),
  ...place,
});
const troubles: fc.Arbitrary<Fault> = fc.oneof(
  fc.record({
    on: fc.constant('supervisor.read'),
    do: fc.oneof(
      delay,
      delay,
      errno.map((fail) => ({ fail })),
    ),
    ...place,
    times: fc.integer({ min: 10, max: 500 }),
  }),
  fc.record({
    on: fc.constant('supervisor.kill'),
    do: fc.oneof(
      delay,
      errno.map((fail) => ({ fail })),
    ),
    ...place,
    atMs: fc.constant(0),
  }),
  fc.record({ on: fc.constant('supervisor.look'), do: delay, ...place }),
);
const crashes: fc.Arbitrary<Fault> = fc.record({
  on: fc.constantFrom('cgroups.*', 'containers.*', 'supervision.*', 'store.*', 'clock.*'),
  do: fc.constantFrom({ crash: 'before' as const }, { crash: 'after' as const }),
  after: fc.integer({ min: 0, max: 3 }),
  ...place,
  times: fc.constant(1),
});

test('whatever fails, comes late or crashes: nobody within its request is killed, and once the faults are over all is well', async () => {
  const reach = new Reach([
    'crashed',
    'a step refused',
    'a kill',
    'a kill refused',
    'a kill after a crash',
    'trouble of the supervisor',
  ]);
  const faults = fc.array(fc.oneof(refusals, troubles, crashes), { minLength: 2, maxLength: 8 });
  await fc.assert(
    fc.asyncProperty(memoryCase, faults, async (given, declared) => {
      const run = await runMemory({ ...given, lastsMs: 15_000 }, { faults: declared });
      reach.add(metIn(run));
      for (const observation of run.observations) {
        if (observation.kind !== 'decision') continue;
        expect(observation.workingSetBytes).toBeGreaterThan(observation.requestBytes);
        expect(observation.totalBytes).toBeGreaterThan(
          Math.min(given.line.stopAtBytes, changed(given).line.stopAtBytes),
        );
      }
      expect(run.broken).toEqual([]);
      expect(await settle(run.simulation, given)).toEqual([]);
      const host = run.simulation.host(HOST);
      const asked = await run.simulation.run(() => readAsked(host.store, HOST));
      expect(asked.desired?.containers.map(({ name }) => name)).toEqual(
        desiredOf(given).containers.map(({ name }) => name),
      );
      expect(await leftovers(run.simulation)).toEqual([]);
    }),
    runs(3000),
  );
  reach.demand();
});

function metIn({ crashes, observations }: MemoryRun): string[] {
  const takeover = observations.findIndex(
    (observation) => observation.kind === 'note' && observation.about === 'recovery',
  );
  return observations
    .flatMap((observation, index) => {
      if (observation.kind === 'step' && observation.error !== undefined) return ['a step refused'];
      if (observation.kind === 'trouble') return ['trouble of the supervisor'];
      if (observation.kind !== 'decision') return [];
      return [
        observation.outcome === 'killed' ? 'a kill' : 'a kill refused',
        ...(takeover >= 0 && index > takeover ? ['a kill after a crash'] : []),
      ];
    })
    .concat(crashes > 0 ? ['crashed'] : []);
}
