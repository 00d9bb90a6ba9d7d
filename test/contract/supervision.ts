import assert from 'node:assert/strict';
import type { SupervisorEvent, SupervisorSettings } from '../../src/host/supervision.ts';
import { MIB } from '../../src/host/units.ts';
import {
  assertApplied,
  assertRefused,
  constant,
  makeCgroups,
  mib,
  ms,
  startInPen,
  waitForUsage,
  type ContractCase,
  type ContractFixture,
} from './contract.ts';

/** Settings for `pen`: a hard limit, killAt 5 % above it, and a request of 24 MiB for each container. */
function settingsFor(
  names: readonly string[],
  hardLimitMib: number,
  options: { readonly parent?: string; readonly dry?: boolean } = {},
): SupervisorSettings {
  const parent = options.parent ?? 'pen';
  return {
    parent,
    policy: { name: 'gaia' },
    line: {
      hardLimitBytes: mib(hardLimitMib),
      killAtBytes: mib(Math.ceil(hardLimitMib * 1.05)),
      stopAtBytes: mib(hardLimitMib),
      ceilingBytes: mib(hardLimitMib * 2),
      lookEveryMs: ms(20),
    },
    dry: options.dry ?? false,
    containers: names.map((name) => ({ name, cgroup: `${parent}/${name}`, requestBytes: mib(24), priority: 0 })),
  };
}

/** Takes until the predicate holds of all that came. */
async function takeUntil(
  { host, waitUntil }: ContractFixture,
  predicate: (events: readonly SupervisorEvent[]) => boolean,
  what: string,
): Promise<readonly SupervisorEvent[]> {
  const events: SupervisorEvent[] = [];
  await waitUntil(() => {
    events.push(...host.supervision.take());
    return predicate(events);
  }, what);
  return events;
}

const decided = (events: readonly SupervisorEvent[]): SupervisorEvent[] =>
  events.filter((event) => event.kind === 'decision');

async function release({ host, settle }: ContractFixture): Promise<void> {
  assertApplied(await settle(() => host.supervision.release(['pen'])), 1);
}

/** What `Supervision` promises. */
export const supervisionContract: readonly ContractCase[] = [
  {
    name: 'a supervisor kills the container furthest over its request, and only it, and tells why',
    async run(fixture) {
      const { host, settle, waitUntil, readBack } = fixture;
      await startInPen(fixture, { over: constant(72), within: constant(16), little: constant(32) });
      await waitForUsage(fixture, 'pen', 120 * MIB, 8 * MIB);
      assertApplied(await settle(() => host.supervision.supervise([settingsFor(['over', 'within', 'little'], 96)])), 1);
      const events = await takeUntil(fixture, (seen) => decided(seen).length > 0, 'a decision');
      await waitUntil(async () => (await readBack.processes('pen/over')) === 0, 'the victim to be gone');
      assert.equal(await readBack.processes('pen/within'), 1);
      assert.equal(await readBack.processes('pen/little'), 1);
      const decision = events.find((event) => event.kind === 'decision')!;
      assert.equal(decision.container, 'over');
      assert.equal(decision.outcome, 'killed');
      assert.equal(decision.requestBytes, 24 * MIB);
      assert.ok(decision.totalBytes > 96 * MIB);
      assert.ok(decision.workingSetBytes > 64 * MIB);
      assert.match(decision.reason, /over its request/);
      await release(fixture);
    },
  },
  {
    name: 'dry: it decides, and everybody lives',
    async run(fixture) {
      const { host, settle, readBack } = fixture;
      await startInPen(fixture, { over: constant(72), within: constant(16) });
      await waitForUsage(fixture, 'pen', 88 * MIB, 6 * MIB);
      assertApplied(
        await settle(() => host.supervision.supervise([settingsFor(['over', 'within'], 64, { dry: true })])),
        1,
      );
      const events = await takeUntil(fixture, (seen) => decided(seen).length > 0, 'a decision');
      assert.ok(decided(events).every((event) => event.kind === 'decision' && event.outcome === 'dry'));
      assert.equal(await readBack.processes('pen/over'), 1);
      await release(fixture);
    },
  },
  {
    name: 'below the line nobody is killed; samples come each second; new settings are taken over',
    async run(fixture) {
      const { host, settle, waitUntil, readBack } = fixture;
      await startInPen(fixture, { a: constant(48), b: constant(8) });
      await waitForUsage(fixture, 'pen', 56 * MIB, 6 * MIB);
      assertApplied(await settle(() => host.supervision.supervise([settingsFor(['a', 'b'], 256)])), 1);
      const samples = (events: readonly SupervisorEvent[]): SupervisorEvent[] =>
        events.filter((event) => event.kind === 'sample');
      const before = await takeUntil(fixture, (seen) => samples(seen).length >= 2, 'two samples');
      assert.deepEqual(decided(before), []);
      const sample = samples(before).at(-1)!;
      assert.ok(sample.kind === 'sample');
      assert.deepEqual(Object.keys(sample.workingSetBytes).sort(), ['a', 'b']);
      assert.ok(sample.workingSetBytes['a']! > 40 * MIB && sample.workingSetBytes['a']! < 56 * MIB);
      assert.ok(sample.totalBytes >= sample.workingSetBytes['a']!);
      assertApplied(await settle(() => host.supervision.supervise([settingsFor(['a', 'b'], 40)])), 1);
      await waitUntil(async () => (await readBack.processes('pen/a')) === 0, 'the new line to be enforced');
      assert.equal(await readBack.processes('pen/b'), 1);
      await release(fixture);
    },
  },
  {
    name: 'list tells the settings of those that live; release ends them, and again is no error',
    async run(fixture) {
      const { host, settle } = fixture;
      await makeCgroups(fixture, ['pen', 'other']);
      assert.deepEqual(await host.supervision.list(), []);
      const settings = [settingsFor([], 128), settingsFor([], 64, { parent: 'other' })];
      assertApplied(await settle(() => host.supervision.supervise(settings)), 2);
      const listed = (await host.supervision.list()).toSorted((a, b) => (a.parent < b.parent ? 1 : -1));
      assert.deepEqual(listed, settings);
      assertApplied(await settle(() => host.supervision.supervise([settingsFor([], 256)])), 1);
      assert.deepEqual(
        (await host.supervision.list()).find(({ parent }) => parent === 'pen'),
        settingsFor([], 256),
      );
      assertApplied(await settle(() => host.supervision.release(['pen'])), 1);
      assert.deepEqual(await host.supervision.list(), [settings[1]]);
      assertApplied(await settle(() => host.supervision.release(['pen', 'other', 'never'])), 3);
      assert.deepEqual(await host.supervision.list(), []);
    },
  },
  {
    name: 'supervise stops at the first whose parent is not there: ENOENT',
    async run(fixture) {
      const { host, settle } = fixture;
      await makeCgroups(fixture, ['pen', 'last']);
      const result = await settle(() =>
        host.supervision.supervise([
          settingsFor([], 64),
          settingsFor([], 64, { parent: 'nowhere' }),
          settingsFor([], 64, { parent: 'last' }),
        ]),
      );
      assertRefused(result, { applied: 1, code: 'ENOENT', operation: 'supervision.supervise', target: 'nowhere' });
      assert.deepEqual(
        (await host.supervision.list()).map(({ parent }) => parent),
        ['pen'],
      );
      await release(fixture);
    },
  },
  {
    name: 'supervise by a policy that nobody knows: EINVAL',
    async run(fixture) {
      const { host, settle } = fixture;
      await makeCgroups(fixture, ['pen']);
      const settings = { ...settingsFor([], 64), policy: { name: 'no-such-policy' } };
      const result = await settle(() => host.supervision.supervise([settings]));
      assertRefused(result, { applied: 0, code: 'EINVAL', operation: 'supervision.supervise', target: 'pen' });
      assert.deepEqual(await host.supervision.list(), []);
    },
  },
  {
    name: 'take hands over each event once, in order of time',
    async run(fixture) {
      const { host, settle } = fixture;
      await startInPen(fixture, { a: constant(8) });
      assertApplied(await settle(() => host.supervision.supervise([settingsFor(['a'], 128)])), 1);
      const count = (events: readonly SupervisorEvent[]): number =>
        events.filter((event) => event.kind === 'sample').length;
      const events = await takeUntil(fixture, (seen) => count(seen) >= 3, 'three samples');
      const times = events.map((event) => event.atMs);
      assert.deepEqual(
        times,
        times.toSorted((a, b) => a - b),
      );
      const told = events.map((event) => JSON.stringify(event));
      assert.equal(new Set(told).size, told.length);
      assert.ok(times.at(-1)! <= host.clock.monotonicMs());
      await release(fixture);
      host.supervision.take();
      assert.deepEqual(host.supervision.take(), []);
    },
  },
];
