import assert from 'node:assert/strict';
import type { MemoryStat } from '../../src/host/cgroups.ts';
import { MIB } from '../../src/host/units.ts';
import {
  assertApplied,
  assertRefused,
  assertThrows,
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
} from './contract.ts';

const emptyStat = (): MemoryStat => ({ anonBytes: -1, fileBytes: -1, inactiveFileBytes: -1, shmemBytes: -1 });

/** What `Cgroups` promises. */
export const cgroupsContract: readonly ContractCase[] = [
  {
    name: 'create makes a batch, parents before children, and nothing else is there',
    async run(fixture) {
      const { host, readBack } = fixture;
      await makeCgroups(fixture, ['pen', 'pen/b', 'pen/a', 'other']);
      assert.deepEqual(await readBack.cgroupPaths(), ['other', 'pen', 'pen/a', 'pen/b']);
      const states = await host.cgroups.list();
      assert.deepEqual(
        states.map(({ path, limitBytes, populated, oomKills }) => ({ path, limitBytes, populated, oomKills })),
        ['other', 'pen', 'pen/a', 'pen/b'].map((path) => ({ path, limitBytes: null, populated: false, oomKills: 0 })),
      );
      // Of a leaf alone: what the kernel needs for a child may be charged to its parent.
      for (const state of states) if (state.path !== 'pen') assert.equal(state.peakBytes, 0, state.path);
    },
  },
  {
    name: 'create leaves one that is there as it is',
    async run(fixture) {
      const { host, settle, readBack } = fixture;
      await makeCgroups(fixture, ['pen']);
      assertApplied(await settle(() => host.cgroups.limit([{ path: 'pen', limitBytes: mib(64) }])), 1);
      await makeCgroups(fixture, ['pen']);
      assert.equal(await readBack.limitBytes('pen'), 64 * MIB);
    },
  },
  {
    name: 'create stops at the first whose parent is not there: ENOENT',
    async run({ host, settle, readBack }) {
      const result = await settle(() =>
        host.cgroups.create([{ path: 'first' }, { path: 'nowhere/second' }, { path: 'third' }]),
      );
      assertRefused(result, { applied: 1, code: 'ENOENT', operation: 'cgroups.create', target: 'nowhere/second' });
      assert.deepEqual(await readBack.cgroupPaths(), ['first']);
    },
  },
  {
    name: 'a path that leads out of the root is refused: EINVAL',
    async run({ host, settle, readBack }) {
      for (const path of ['../escaped', '/absolute', 'pen/../../escaped', '', 'pen//a', './pen']) {
        const result = await settle(() => host.cgroups.create([{ path }]));
        assertRefused(result, { applied: 0, code: 'EINVAL', operation: 'cgroups.create', target: path });
      }
      assert.deepEqual(await readBack.cgroupPaths(), []);
    },
  },
  {
    name: 'limit sets, rounds down to whole pages, and takes off again',
    async run(fixture) {
      const { host, settle, readBack } = fixture;
      await makeCgroups(fixture, ['pen', 'pen/a']);
      const odd = mib(10) + 4095;
      assertApplied(
        await settle(() =>
          host.cgroups.limit([
            { path: 'pen', limitBytes: mib(512) },
            { path: 'pen/a', limitBytes: odd as ReturnType<typeof mib> },
          ]),
        ),
        2,
      );
      assert.equal(await readBack.limitBytes('pen'), 512 * MIB);
      assert.equal(await readBack.limitBytes('pen/a'), 10 * MIB);
      const states = await host.cgroups.list();
      assert.deepEqual(
        states.map((state) => state.limitBytes),
        [512 * MIB, 10 * MIB],
      );
      assertApplied(await settle(() => host.cgroups.limit([{ path: 'pen', limitBytes: null }])), 1);
      assert.equal(await readBack.limitBytes('pen'), null);
      assert.equal((await host.cgroups.list())[0]?.limitBytes, null);
    },
  },
  {
    name: 'limit stops at the first that is not there: ENOENT',
    async run(fixture) {
      const { host, settle, readBack } = fixture;
      await makeCgroups(fixture, ['a', 'c']);
      const result = await settle(() =>
        host.cgroups.limit([
          { path: 'a', limitBytes: mib(8) },
          { path: 'b', limitBytes: mib(8) },
          { path: 'c', limitBytes: mib(8) },
        ]),
      );
      assertRefused(result, { applied: 1, code: 'ENOENT', operation: 'cgroups.limit', target: 'b' });
      assert.equal(await readBack.limitBytes('a'), 8 * MIB);
      assert.equal(await readBack.limitBytes('c'), null);
    },
  },
  {
    name: 'a limit under what cannot be reclaimed is refused with EBUSY, and nobody is killed',
    async run(fixture) {
      const { host, settle, readBack } = fixture;
      await startInPen(fixture, { a: constant(48) });
      await waitForUsage(fixture, 'pen/a', 48 * MIB);
      const result = await settle(() => host.cgroups.limit([{ path: 'pen/a', limitBytes: mib(16) }]));
      assertRefused(result, { applied: 0, code: 'EBUSY', operation: 'cgroups.limit', target: 'pen/a' });
      assert.equal(await readBack.limitBytes('pen/a'), null);
      assert.ok((await readBack.processes('pen/a')) > 0);
    },
  },
  {
    name: 'a limit under what can be reclaimed gives the cache back, and kills nobody',
    async run(fixture) {
      const { host, settle, readBack } = fixture;
      await startInPen(fixture, {
        a: { ...constant(16), cache: { bytes: mib(64), bytesPerSecond: mib(640) } },
      });
      await waitForUsage(fixture, 'pen/a', 80 * MIB, 5 * MIB);
      assertApplied(await settle(() => host.cgroups.limit([{ path: 'pen/a', limitBytes: mib(40) }])), 1);
      assert.ok((await readBack.usageBytes('pen/a')) <= 40 * MIB);
      assert.ok((await readBack.processes('pen/a')) > 0);
      assert.equal((await host.cgroups.list()).find((state) => state.path === 'pen/a')?.oomKills, 0);
    },
  },
  {
    name: 'remove takes away, children first, and one that is gone is no error',
    async run(fixture) {
      const { host, settle, readBack } = fixture;
      await makeCgroups(fixture, ['pen', 'pen/a', 'stays']);
      assertApplied(await settle(() => host.cgroups.remove(['pen/a', 'pen'])), 2);
      assert.deepEqual(await readBack.cgroupPaths(), ['stays']);
      assertApplied(await settle(() => host.cgroups.remove(['pen', 'never/was'])), 2);
    },
  },
  {
    name: 'remove stops at the first in use, by a child or a process: EBUSY',
    async run(fixture) {
      const { host, settle, readBack } = fixture;
      await startInPen(fixture, { a: constant(4) });
      await makeCgroups(fixture, ['empty', 'last']);
      assertRefused(await settle(() => host.cgroups.remove(['empty', 'pen', 'last'])), {
        applied: 1,
        code: 'EBUSY',
        operation: 'cgroups.remove',
        target: 'pen',
      });
      assertRefused(await settle(() => host.cgroups.remove(['pen/a'])), {
        applied: 0,
        code: 'EBUSY',
        operation: 'cgroups.remove',
        target: 'pen/a',
      });
      assert.deepEqual(await readBack.cgroupPaths(), ['last', 'pen', 'pen/a']);
    },
  },
  {
    name: 'list tells who lives where, and the highest usage',
    async run(fixture) {
      const { host, waitUntil, readBack } = fixture;
      await startInPen(fixture, { a: { ...constant(24), endsAfterMs: ms(2000) }, b: constant(4) });
      await makeCgroups(fixture, ['pen/idle']);
      await waitForUsage(fixture, 'pen/a', 24 * MIB);
      const populated = async (): Promise<Record<string, boolean>> =>
        Object.fromEntries((await host.cgroups.list()).map((state) => [state.path, state.populated]));
      assert.deepEqual(await populated(), { pen: true, 'pen/a': true, 'pen/b': true, 'pen/idle': false });
      await waitUntil(async () => (await readBack.processes('pen/a')) === 0, 'a to end');
      // A process that is not listed any more may still be on its way out (cgroup_task_dead comes after cgroup.procs lost it).
      await waitUntil(async () => (await populated())['pen/a'] === false, 'a to be gone');
      assert.deepEqual(await populated(), { pen: true, 'pen/a': false, 'pen/b': true, 'pen/idle': false });
      const peak = new Map((await host.cgroups.list()).map((state) => [state.path, state.peakBytes]));
      assert.ok(peak.get('pen/a')! >= 23 * MIB, `peak ${peak.get('pen/a')}`);
      assert.ok(peak.get('pen')! >= peak.get('pen/a')!);
      assert.equal(peak.get('pen/idle'), 0);
    },
  },
  {
    name: 'a reader reads usage and its parts, hierarchically',
    async run(fixture) {
      const { host, waitUntil, readBack } = fixture;
      await startInPen(fixture, {
        plain: constant(32),
        cached: { ...constant(8), cache: { bytes: mib(40), bytesPerSecond: mib(400) } },
        sharing: { ...constant(20), shared: true },
      });
      await waitForUsage(fixture, 'pen/plain', 32 * MIB);
      await waitForUsage(fixture, 'pen/cached', 48 * MIB, 5 * MIB);
      await waitForUsage(fixture, 'pen/sharing', 20 * MIB);
      const stat = emptyStat();
      const read = (path: string): MemoryStat => {
        const reader = host.cgroups.open(path);
        try {
          assert.equal(reader.path, path);
          assert.equal(reader.readStat(stat), stat);
          return { ...stat };
        } finally {
          reader.close();
        }
      };
      const holds = async (what: string, predicate: () => boolean): Promise<void> => await waitUntil(predicate, what);
      await holds('plain is anonymous', () => {
        const plain = read('pen/plain');
        return near(plain.anonBytes, 32 * MIB) && plain.inactiveFileBytes < STRAY_BYTES && plain.shmemBytes === 0;
      });
      await holds('cached is inactive file', () => {
        const cached = read('pen/cached');
        return (
          near(cached.inactiveFileBytes, 40 * MIB) &&
          near(cached.fileBytes, 40 * MIB) &&
          near(cached.anonBytes, 8 * MIB)
        );
      });
      await holds('sharing is shmem, which counts as file, not as inactive file', () => {
        const sharing = read('pen/sharing');
        return (
          near(sharing.shmemBytes, 20 * MIB) &&
          sharing.fileBytes >= sharing.shmemBytes &&
          sharing.inactiveFileBytes < STRAY_BYTES
        );
      });
      await holds('the parent holds them all', () => {
        const pen = read('pen');
        return near(pen.anonBytes, 40 * MIB, 8 * MIB) && near(pen.inactiveFileBytes, 40 * MIB, 5 * MIB);
      });
      assert.ok(near(await readBack.usageBytes('pen/plain'), 32 * MIB));
    },
  },
  {
    name: 'activity: the share of the cache that is read twice is not inactive',
    async run(fixture) {
      const { host, waitUntil } = fixture;
      await startInPen(fixture, {
        a: { ...constant(4), cache: { bytes: mib(40), bytesPerSecond: mib(400), activeShare: 0.5 } },
      });
      const reader = host.cgroups.open('pen/a');
      const stat = emptyStat();
      await waitUntil(() => {
        reader.readStat(stat);
        return near(stat.fileBytes, 40 * MIB) && near(stat.inactiveFileBytes, 20 * MIB);
      }, 'half of the cache to be active');
      reader.close();
    },
  },
  {
    name: 'a reader: ENOENT where nothing is, ENODEV once it was removed',
    async run(fixture) {
      const { host, settle } = fixture;
      assertThrows(() => host.cgroups.open('nowhere'), {
        code: 'ENOENT',
        operation: 'cgroups.open',
        target: 'nowhere',
      });
      await makeCgroups(fixture, ['pen']);
      const reader = host.cgroups.open('pen');
      assert.equal(reader.usageBytes(), 0);
      reader.readStat(emptyStat());
      assertApplied(await settle(() => host.cgroups.remove(['pen'])), 1);
      assertThrows(() => reader.usageBytes(), { code: 'ENODEV', operation: 'cgroups.read', target: 'pen' });
      assertThrows(() => reader.readStat(emptyStat()), { code: 'ENODEV', operation: 'cgroups.read', target: 'pen' });
      await makeCgroups(fixture, ['pen']);
      assertThrows(() => reader.usageBytes(), { code: 'ENODEV', operation: 'cgroups.read', target: 'pen' });
      reader.close();
    },
  },
  {
    name: 'kill takes everything in it and under it, and nobody else; its memory comes back',
    async run(fixture) {
      const { host, settle, waitUntil, readBack } = fixture;
      await makeCgroups(fixture, ['spared', 'spared/c']);
      await startInPen(fixture, { a: { ...constant(24), processes: 3 }, b: constant(8) });
      assertApplied(
        await settle(() => host.containers.start([{ name: 'c', cgroup: 'spared/c', workload: constant(4) }])),
        1,
      );
      await waitForUsage(fixture, 'pen/a', 24 * MIB, 5 * MIB);
      assert.equal(await readBack.processes('pen/a'), 3);
      host.cgroups.kill('pen');
      await waitUntil(
        async () => (await readBack.processes('pen/a')) + (await readBack.processes('pen/b')) === 0,
        'the killed to be gone',
      );
      await waitForUsage(fixture, 'pen', 0, 2 * MIB);
      assert.equal(await readBack.processes('spared/c'), 1);
      assert.deepEqual(
        (await host.cgroups.list()).map((state) => state.oomKills),
        [0, 0, 0, 0, 0],
      );
    },
  },
  {
    name: 'kill where nothing lives does nothing; where nothing is: ENOENT',
    async run(fixture) {
      const { host, settle, readBack } = fixture;
      await makeCgroups(fixture, ['pen', 'pen/a']);
      host.cgroups.kill('pen/a');
      assertThrows(() => host.cgroups.kill('pen/b'), {
        code: 'ENOENT',
        operation: 'cgroups.kill',
        target: 'pen/b',
      });
      assertApplied(await settle(() => host.containers.start([inPen('a', constant(4))])), 1);
      assert.equal(await readBack.processes('pen/a'), 1);
    },
  },
];
