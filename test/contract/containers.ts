import assert from 'node:assert/strict';
import { MIB } from '../../src/host/units.ts';
import {
  assertApplied,
  assertRefused,
  constant,
  inPen,
  makeCgroups,
  mib,
  ms,
  near,
  startInPen,
  STRAY_BYTES,
  waitForUsage,
  type ContractCase,
  type ContractFixture,
} from './contract.ts';

const phases = async ({ host }: ContractFixture): Promise<Record<string, string>> =>
  Object.fromEntries((await host.containers.list()).map((state) => [state.name, state.phase]));

/** What `Containers` promises. A container is a leaf under another cgroup, named by the last part of its path. */
export const containersContract: readonly ContractCase[] = [
  {
    name: 'start runs a batch, and list tells created, running and exited, in order of name',
    async run(fixture) {
      const { host, settle, waitUntil, readBack } = fixture;
      await makeCgroups(fixture, ['pen', 'pen/c', 'pen/b', 'pen/a']);
      const state = (name: string, phase: string): object => ({
        name,
        cgroup: `pen/${name}`,
        phase,
        oomKilled: false,
      });
      assert.deepEqual(
        await host.containers.list(),
        ['a', 'b', 'c'].map((name) => state(name, 'created')),
      );
      assertApplied(
        await settle(() =>
          host.containers.start([inPen('c', { ...constant(8), endsAfterMs: ms(500) }), inPen('a', constant(16))]),
        ),
        2,
      );
      assert.equal(await readBack.processes('pen/a'), 1);
      await waitForUsage(fixture, 'pen/a', 16 * MIB);
      await waitUntil(async () => (await phases(fixture))['c'] === 'exited', 'c to end by itself');
      assert.deepEqual(await host.containers.list(), [
        state('a', 'running'),
        state('b', 'created'),
        state('c', 'exited'),
      ]);
      assert.equal(await readBack.processes('pen/c'), 0);
      assert.equal(await readBack.processes('pen/b'), 0);
    },
  },
  {
    name: 'start stops at the first whose cgroup is not there: ENOENT',
    async run(fixture) {
      const { host, settle, readBack } = fixture;
      await makeCgroups(fixture, ['pen', 'pen/a', 'pen/c']);
      const result = await settle(() =>
        host.containers.start([inPen('a', constant(4)), inPen('b', constant(4)), inPen('c', constant(4))]),
      );
      assertRefused(result, { applied: 1, code: 'ENOENT', operation: 'containers.start', target: 'b' });
      assert.equal(await readBack.processes('pen/a'), 1);
      assert.equal(await readBack.processes('pen/c'), 0);
    },
  },
  {
    name: 'start of one that runs: EEXIST, and it runs on; of one that has ended: it runs again',
    async run(fixture) {
      const { host, settle, readBack } = fixture;
      await startInPen(fixture, { a: constant(4) });
      assertRefused(await settle(() => host.containers.start([inPen('a', constant(8))])), {
        applied: 0,
        code: 'EEXIST',
        operation: 'containers.start',
        target: 'a',
      });
      assert.equal(await readBack.processes('pen/a'), 1);
      assertApplied(await settle(() => host.containers.stop(['a'])), 1);
      assert.deepEqual(await phases(fixture), { a: 'exited' });
      assertApplied(await settle(() => host.containers.start([inPen('a', constant(8))])), 1);
      assert.deepEqual(await phases(fixture), { a: 'running' });
    },
  },
  {
    name: 'start under another name than its cgroup has: EINVAL',
    async run(fixture) {
      const { host, settle, readBack } = fixture;
      await makeCgroups(fixture, ['pen', 'pen/a']);
      const result = await settle(() => host.containers.start([{ name: 'b', cgroup: 'pen/a', workload: constant(4) }]));
      assertRefused(result, { applied: 0, code: 'EINVAL', operation: 'containers.start', target: 'b' });
      assert.equal(await readBack.processes('pen/a'), 0);
    },
  },
  {
    name: 'stop ends a batch whole; one that is not running is no error',
    async run(fixture) {
      const { host, settle, readBack } = fixture;
      await startInPen(fixture, { a: { ...constant(12), processes: 2 }, b: constant(4), spared: constant(4) });
      assert.equal(await readBack.processes('pen/a'), 2);
      assertApplied(await settle(() => host.containers.stop(['a', 'b'])), 2);
      assert.equal(await readBack.processes('pen/a'), 0);
      assert.equal(await readBack.processes('pen/b'), 0);
      assert.equal(await readBack.processes('pen/spared'), 1);
      assert.deepEqual(await phases(fixture), { a: 'exited', b: 'exited', spared: 'running' });
      assertApplied(await settle(() => host.containers.stop(['a', 'nobody'])), 2);
    },
  },
  {
    name: 'past its own limit the kernel kills it, and list says so',
    async run(fixture) {
      const { host, settle, waitUntil } = fixture;
      await makeCgroups(fixture, ['pen', 'pen/a', 'pen/b']);
      assertApplied(await settle(() => host.cgroups.limit([{ path: 'pen/a', limitBytes: mib(32) }])), 1);
      const grows = {
        memory: { kind: 'ramp', from: mib(8), to: mib(96), startMs: ms(200), overMs: ms(800) },
      } as const;
      assertApplied(await settle(() => host.containers.start([inPen('a', grows), inPen('b', constant(4))])), 2);
      await waitUntil(async () => (await phases(fixture))['a'] === 'exited', 'the kernel to kill a');
      assert.deepEqual(
        (await host.containers.list()).map(({ name, phase, oomKilled }) => ({ name, phase, oomKilled })),
        [
          { name: 'a', phase: 'exited', oomKilled: true },
          { name: 'b', phase: 'running', oomKilled: false },
        ],
      );
      const state = (await host.cgroups.list()).find(({ path }) => path === 'pen/a');
      assert.equal(state?.oomKills, 1);
      assert.ok(state.peakBytes <= 32 * MIB);
    },
  },
  {
    name: 'memory follows its curve up and down',
    async run(fixture) {
      await startInPen(fixture, {
        bursts: {
          memory: {
            kind: 'burst',
            base: mib(8),
            peak: mib(64),
            atMs: ms(1500),
            riseMs: ms(100),
            holdMs: ms(1500),
          },
        },
        leaks: { memory: { kind: 'leak', from: mib(4), bytesPerSecond: mib(20), upTo: mib(44) } },
      });
      await waitForUsage(fixture, 'pen/bursts', 8 * MIB);
      await waitForUsage(fixture, 'pen/bursts', 64 * MIB);
      await waitForUsage(fixture, 'pen/leaks', 44 * MIB);
      await waitForUsage(fixture, 'pen/bursts', 8 * MIB);
    },
  },
  {
    name: 'containers of one batch begin their curves at the same moment',
    async run(fixture) {
      const { host, waitUntil } = fixture;
      const rises = {
        memory: { kind: 'ramp', from: mib(4), to: mib(64), startMs: ms(300), overMs: ms(6000) },
      } as const;
      await startInPen(fixture, { a: rises, b: rises });
      const a = host.cgroups.open('pen/a');
      const b = host.cgroups.open('pen/b');
      // On the way up (10 MiB a second) a start half a second apart would show as 5 MiB.
      await waitUntil(() => a.usageBytes() > 20 * MIB, 'a to be on its way');
      await waitUntil(
        () => a.usageBytes() < 60 * MIB && near(b.usageBytes(), a.usageBytes(), STRAY_BYTES),
        'b beside a on their way up',
      );
      a.close();
      b.close();
    },
  },
  {
    name: 'shared memory outlives the process that wrote it',
    async run(fixture) {
      const { host, settle, readBack } = fixture;
      await startInPen(fixture, { a: { ...constant(24), shared: true } });
      await waitForUsage(fixture, 'pen/a', 24 * MIB);
      assertApplied(await settle(() => host.containers.stop(['a'])), 1);
      assert.equal(await readBack.processes('pen/a'), 0);
      assert.ok((await readBack.usageBytes('pen/a')) >= 20 * MIB);
      assert.deepEqual(await phases(fixture), { a: 'exited' });
    },
  },
];
