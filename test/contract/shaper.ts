import assert from 'node:assert/strict';
import type { LinkName } from '../../src/host/links.ts';
import {
  CLASS_MINOR_MAX,
  heldClass,
  type ShaperClass,
  shaperKey,
  type ShaperObject,
  type ShaperQdisc,
  type ShaperState,
} from '../../src/host/shaper.ts';
import { assertApplied, assertRefused, type ContractCase, type ContractFixture } from './contract.ts';
import { makeLinks, makeNamespaces, veth } from './network.ts';

const MBIT = 1_000_000;
const HERE: LinkName = { namespace: '', name: 'v0' };

export const qdisc = (at: LinkName, defaultMinor = 0): ShaperQdisc => ({ ...at, kind: 'qdisc', defaultMinor });
export const filter = (at: LinkName): ShaperObject => ({ ...at, kind: 'filter' });

export const shaperClass = (at: LinkName, minor: number, more: Partial<ShaperClass> = {}): ShaperClass => ({
  ...at,
  kind: 'class',
  minor,
  parentMinor: 0,
  rateBitsPerSec: 10 * MBIT,
  ceilBitsPerSec: 20 * MBIT,
  burstBytes: 15_000,
  ceilBurstBytes: 16_000,
  quantumBytes: 15_000,
  fairQueue: false,
  ...more,
});

const add = ({ host, settle }: ContractFixture, objects: readonly ShaperObject[]) =>
  settle(() => host.shaper.add(objects));
const remove = ({ host, settle }: ContractFixture, objects: readonly ShaperObject[]) =>
  settle(() => host.shaper.remove(objects));

export async function addAll(fixture: ContractFixture, objects: readonly ShaperObject[]): Promise<void> {
  assertApplied(await add(fixture, objects), objects.length);
}

const keys = async ({ host }: ContractFixture, at: LinkName): Promise<string[]> =>
  (await host.shaper.list([at])).objects.map(shaperKey);

export const inOrderOfKey = (objects: readonly ShaperObject[]): ShaperObject[] =>
  objects.toSorted((a, b) => (shaperKey(a) < shaperKey(b) ? -1 : 1));

/** `v0`, a link of the host's own. */
export async function makeLink(fixture: ContractFixture): Promise<void> {
  await makeNamespaces(fixture, ['web']);
  await makeLinks(fixture, [veth(HERE.name, 'web')]);
}

/** What `Shaper` promises. */
export const shaperContract: readonly ContractCase[] = [
  {
    name: 'a qdisc, classes under one another and the filter come in the order given, once, and are told again',
    async run(fixture) {
      const { host, readBack } = fixture;
      await makeLink(fixture);
      assert.deepEqual(await host.shaper.list([HERE]), { objects: [], foreign: [] });
      const objects = [
        qdisc(HERE, 2),
        shaperClass(HERE, 1, { rateBitsPerSec: 100 * MBIT, ceilBitsPerSec: 100 * MBIT }),
        shaperClass(HERE, 2, { parentMinor: 1 }),
        shaperClass(HERE, 0xabc, { parentMinor: 1, rateBitsPerSec: 8_000, burstBytes: 1600, quantumBytes: 1500 }),
        shaperClass(HERE, CLASS_MINOR_MAX, { parentMinor: 0, ceilBitsPerSec: 10 * MBIT }),
        filter(HERE),
      ];
      for (const _ of ['first', 'again']) {
        await addAll(fixture, objects);
        assert.deepEqual(await host.shaper.list([HERE]), { objects: inOrderOfKey(objects), foreign: [] });
        assert.deepEqual(await readBack.shaper(HERE), [
          'class 504c:1 parent 504c: rate 100000000 ceil 100000000 burst 15000 cburst 16000',
          'class 504c:2 parent 504c:1 rate 10000000 ceil 20000000 burst 15000 cburst 16000 quantum 15000',
          'class 504c:abc parent 504c:1 rate 8000 ceil 20000000 burst 1600 cburst 16000 quantum 1500',
          'class 504c:fffe parent 504c: rate 10000000 ceil 10000000 burst 15000 cburst 16000 quantum 15000',
          'filter by mark',
          'qdisc htb 504c: default 504c:2',
        ]);
      }
    },
  },
  {
    name: 'in the namespace of a container, beside the host’s own, and told in order of key',
    async run(fixture) {
      const { host, readBack } = fixture;
      await makeLink(fixture);
      const inside: LinkName = { namespace: 'web', name: 'eth0' };
      const objects = [qdisc(inside, 1), shaperClass(inside, 1), qdisc(HERE), shaperClass(HERE, 3)];
      await addAll(fixture, objects);
      assert.deepEqual(await host.shaper.list([HERE, inside]), { objects: inOrderOfKey(objects), foreign: [] });
      assert.deepEqual(await readBack.shaper(inside), [
        'class 504c:1 parent 504c: rate 10000000 ceil 20000000 burst 15000 cburst 16000 quantum 15000',
        'qdisc htb 504c: default 504c:1',
      ]);
      assert.deepEqual(await keys(fixture, inside), [
        'class htb 504c:1 dev web: eth0',
        'qdisc htb 504c: dev web: eth0',
      ]);
    },
  },
  {
    name: 'a class takes other numbers in place; its parent and the default of a qdisc cannot change: EEXIST',
    async run(fixture) {
      const { host, readBack } = fixture;
      await makeLink(fixture);
      await addAll(fixture, [qdisc(HERE, 2), shaperClass(HERE, 1), shaperClass(HERE, 2, { parentMinor: 1 })]);
      const changed = [
        shaperClass(HERE, 1, { rateBitsPerSec: 50 * MBIT, ceilBitsPerSec: 60 * MBIT, burstBytes: 30_000 }),
        shaperClass(HERE, 2, { parentMinor: 1, rateBitsPerSec: 1 * MBIT, ceilBurstBytes: 20_000, quantumBytes: 3000 }),
      ];
      await addAll(fixture, changed);
      const expected = { objects: inOrderOfKey([...changed, qdisc(HERE, 2)]), foreign: [] };
      assert.deepEqual(await host.shaper.list([HERE]), expected);
      const lines = await readBack.shaper(HERE);
      assert.deepEqual(lines, [
        'class 504c:1 parent 504c: rate 50000000 ceil 60000000 burst 30000 cburst 16000',
        'class 504c:2 parent 504c:1 rate 1000000 ceil 20000000 burst 15000 cburst 20000 quantum 3000',
        'qdisc htb 504c: default 504c:2',
      ]);
      const refused = { applied: 0, operation: 'shaper.add' } as const;
      for (const [code, object] of [
        ['EEXIST', qdisc(HERE, 1)],
        ['EEXIST', shaperClass(HERE, 2)],
        ['EBUSY', { ...changed[0]!, quantumBytes: 3000 }],
      ] as const)
        assertRefused(await add(fixture, [object, shaperClass(HERE, 9)]), {
          ...refused,
          code,
          target: shaperKey(object),
        });
      assert.deepEqual(await host.shaper.list([HERE]), expected);
      assert.deepEqual(await readBack.shaper(HERE), lines);
    },
  },
  {
    name: 'rates past 32 bits of bytes a second are held, and what cannot be held to the byte is told as it is held',
    async run(fixture) {
      const { host } = fixture;
      await makeLink(fixture);
      const asked = [
        shaperClass(HERE, 1, { rateBitsPerSec: 100_000 * MBIT, ceilBitsPerSec: 200_000 * MBIT }),
        shaperClass(HERE, 2, { rateBitsPerSec: 34_359_738_360, ceilBitsPerSec: 34_359_738_368, burstBytes: 1_000_001 }),
        shaperClass(HERE, 3, {
          rateBitsPerSec: 10_001,
          ceilBitsPerSec: 400 * MBIT,
          burstBytes: 777,
          ceilBurstBytes: 7,
        }),
        shaperClass(HERE, 4, { rateBitsPerSec: 8, burstBytes: 1_000_000 }),
        shaperClass(HERE, 5, {
          rateBitsPerSec: 40_000 * MBIT,
          ceilBitsPerSec: 40_000 * MBIT,
          burstBytes: 5_000_000,
          ceilBurstBytes: 5_000_000,
        }),
      ];
      await addAll(fixture, [qdisc(HERE), ...asked]);
      const { objects } = await host.shaper.list([HERE]);
      assert.deepEqual(objects, [...asked.map(heldClass), qdisc(HERE)]);
      // A millisecond of any whole rate, as the planner asks, is held to the byte.
      assert.deepEqual(objects[4], asked[4]);
      assert.deepEqual(
        objects.map((object) => (object.kind === 'class' ? heldClass(object) : object)),
        objects,
      );
    },
  },
  {
    name: 'add: ENODEV without the link or the namespace, ENOENT without the qdisc or the parent',
    async run(fixture) {
      await makeLink(fixture);
      const away: LinkName = { namespace: '', name: 'nosuch' };
      const nowhere: LinkName = { namespace: 'nowhere', name: 'eth0' };
      for (const at of [away, nowhere])
        for (const object of [qdisc(at), shaperClass(at, 1), filter(at)])
          assertRefused(await add(fixture, [object]), {
            applied: 0,
            code: 'ENODEV',
            operation: 'shaper.add',
            target: shaperKey(object),
          });
      for (const object of [shaperClass(HERE, 1), filter(HERE)])
        assertRefused(await add(fixture, [object, qdisc(HERE)]), {
          applied: 0,
          code: 'ENOENT',
          operation: 'shaper.add',
          target: shaperKey(object),
        });
      const orphan = shaperClass(HERE, 2, { parentMinor: 1 });
      assertRefused(await add(fixture, [qdisc(HERE), orphan]), {
        applied: 1,
        code: 'ENOENT',
        operation: 'shaper.add',
        target: shaperKey(orphan),
      });
      assert.deepEqual(await fixture.readBack.shaper(HERE), ['qdisc htb 504c: default 504c:0']);
    },
  },
  {
    name: 'add: ERANGE for a minor out of range, EINVAL for numbers that make no sense; those before it stay, those after are not tried',
    async run(fixture) {
      await makeLink(fixture);
      await addAll(fixture, [qdisc(HERE)]);
      const bad: readonly (readonly ['ERANGE' | 'EINVAL', ShaperObject])[] = [
        ['ERANGE', qdisc(HERE, CLASS_MINOR_MAX + 1)],
        ['ERANGE', shaperClass(HERE, 0)],
        ['ERANGE', shaperClass(HERE, CLASS_MINOR_MAX + 1)],
        ['ERANGE', shaperClass(HERE, 1, { parentMinor: CLASS_MINOR_MAX + 1 })],
        ['EINVAL', shaperClass(HERE, 1, { rateBitsPerSec: 0, ceilBitsPerSec: 0 })],
        ['EINVAL', shaperClass(HERE, 1, { rateBitsPerSec: 7 })],
        ['EINVAL', shaperClass(HERE, 1, { rateBitsPerSec: 20 * MBIT, ceilBitsPerSec: 10 * MBIT })],
        ['EINVAL', shaperClass(HERE, 1, { burstBytes: 0 })],
        ['EINVAL', shaperClass(HERE, 1, { ceilBurstBytes: Number.NaN })],
        ['EINVAL', shaperClass(HERE, 1, { quantumBytes: 0 })],
      ];
      for (const [index, [code, object]] of bad.entries()) {
        const before = shaperClass(HERE, 0x100 + index);
        assertRefused(await add(fixture, [before, object, shaperClass(HERE, 0x200)]), {
          applied: 1,
          code,
          operation: 'shaper.add',
          target: shaperKey(object),
        });
      }
      assert.deepEqual(
        await keys(fixture, HERE),
        inOrderOfKey([qdisc(HERE), ...bad.map((_, index) => shaperClass(HERE, 0x100 + index))]).map(shaperKey),
      );
    },
  },
  {
    name: 'a root qdisc of somebody else’s is told and left alone: EEXIST, and remove passes it by',
    async run(fixture) {
      const { host, readBack } = fixture;
      await makeLink(fixture);
      await fixture.layForeignQdisc(HERE);
      const foreign = { objects: [], foreign: [{ ...HERE, type: 'htb', handle: '1:' }] };
      assert.deepEqual(await host.shaper.list([HERE]), foreign);
      const refused = { applied: 0, operation: 'shaper.add' } as const;
      assertRefused(await add(fixture, [qdisc(HERE)]), {
        ...refused,
        code: 'EEXIST',
        target: 'qdisc htb 504c: dev v0',
      });
      for (const object of [shaperClass(HERE, 1), filter(HERE)])
        assertRefused(await add(fixture, [object]), { ...refused, code: 'ENOENT', target: shaperKey(object) });
      assertApplied(await remove(fixture, [filter(HERE), shaperClass(HERE, 1), qdisc(HERE)]), 3);
      assert.deepEqual(await host.shaper.list([HERE]), foreign);
      assert.deepEqual(await readBack.shaper(HERE), ['foreign htb 1:']);
      assert.deepEqual(await host.shaper.counters([HERE]), []);
    },
  },
  {
    name: 'remove takes each by its place, and a qdisc with all in it; one that is gone, or whose link is, is no error',
    async run(fixture) {
      const { host, readBack } = fixture;
      await makeLink(fixture);
      const objects = [qdisc(HERE, 1), shaperClass(HERE, 1), shaperClass(HERE, 2), shaperClass(HERE, 3), filter(HERE)];
      await addAll(fixture, objects);
      const gone: LinkName = { namespace: 'nowhere', name: 'eth0' };
      const going = [
        shaperClass(HERE, 2, { rateBitsPerSec: 1 * MBIT }),
        filter(HERE),
        shaperClass(HERE, 9),
        qdisc(gone),
        shaperClass(gone, 1),
        filter({ namespace: '', name: 'nosuch' }),
      ];
      for (const _ of ['first', 'again']) {
        assertApplied(await remove(fixture, going), going.length);
        assert.deepEqual(await keys(fixture, HERE), [objects[1]!, objects[3]!, objects[0]!].map(shaperKey));
      }
      await addAll(fixture, objects);
      assert.equal((await readBack.shaper(HERE)).length, objects.length);
      assertApplied(await remove(fixture, [qdisc(HERE), ...objects]), objects.length + 1);
      assert.deepEqual(await readBack.shaper(HERE), []);
      assert.deepEqual(await host.shaper.list([HERE, gone]), { objects: [], foreign: [] });
      assert.deepEqual(await host.shaper.counters([HERE, gone]), []);
    },
  },
  {
    name: 'remove stops at a class with others under it: EBUSY; without them it goes',
    async run(fixture) {
      const { readBack } = fixture;
      await makeLink(fixture);
      const [parent, child, other] = [
        shaperClass(HERE, 1),
        shaperClass(HERE, 2, { parentMinor: 1 }),
        shaperClass(HERE, 3),
      ];
      await addAll(fixture, [qdisc(HERE), parent, child, other]);
      assertRefused(await remove(fixture, [other, parent, child]), {
        applied: 1,
        code: 'EBUSY',
        operation: 'shaper.remove',
        target: 'class htb 504c:1 dev v0',
      });
      assert.equal((await readBack.shaper(HERE)).length, 3);
      assertApplied(await remove(fixture, [child, parent]), 2);
      assert.deepEqual(await readBack.shaper(HERE), ['qdisc htb 504c: default 504c:0']);
    },
  },
  {
    name: 'a fair queue comes with its class, later, and goes again; a class with others under it has none: EINVAL',
    async run(fixture) {
      const { host, settle, readBack } = fixture;
      await makeLink(fixture);
      await addAll(fixture, [qdisc(HERE)]);
      const [plain, fair] = [false, true].map((fairQueue) => shaperClass(HERE, 1, { fairQueue }));
      const { abilities } = await settle(() => host.machine.describe());
      const refused = { applied: 0, operation: 'shaper.add', target: shaperKey(fair!) } as const;
      if (abilities.find(({ name }) => name === 'fair queues (fq_codel)')?.present === false) {
        assertRefused(await add(fixture, [fair!]), { ...refused, code: 'EOPNOTSUPP' });
        assert.deepEqual(await readBack.shaper(HERE), ['qdisc htb 504c: default 504c:0']);
        return;
      }
      const line = 'class 504c:1 parent 504c: rate 10000000 ceil 20000000 burst 15000 cburst 16000';
      const rest = 'qdisc htb 504c: default 504c:0';
      for (const [object, shown] of [
        [fair!, `${line} quantum 15000 fq_codel`],
        [plain!, `${line} quantum 15000`],
        [fair!, `${line} quantum 15000 fq_codel`],
        [fair!, `${line} quantum 15000 fq_codel`],
      ] as const) {
        await addAll(fixture, [object]);
        assert.deepEqual(await readBack.shaper(HERE), [shown, rest]);
        assert.deepEqual((await host.shaper.list([HERE])).objects, [object, qdisc(HERE)]);
      }
      const child = shaperClass(HERE, 2, { parentMinor: 1, fairQueue: true });
      await addAll(fixture, [child]);
      assert.deepEqual((await host.shaper.list([HERE])).objects, [plain, child, qdisc(HERE)]);
      assertRefused(await add(fixture, [fair!]), { ...refused, code: 'EINVAL' });
      assertApplied(await remove(fixture, [child, fair!]), 2);
      assert.deepEqual(await readBack.shaper(HERE), [rest]);
    },
  },
];

/** What is on one link, in words that every tool has: `readBack.shaper` of a host that reads its own model. */
export function shaperLines({ objects, foreign }: ShaperState): string[] {
  const parents = new Set(objects.map((object) => (object.kind === 'class' ? object.parentMinor : 0)));
  const handle = (minor: number): string => `504c:${minor === 0 ? '' : minor.toString(16)}`;
  const line = (object: ShaperObject): string => {
    switch (object.kind) {
      case 'qdisc':
        return `qdisc htb 504c: default 504c:${object.defaultMinor.toString(16)}`;
      case 'filter':
        return 'filter by mark';
      case 'class': {
        const { minor, parentMinor, rateBitsPerSec, ceilBitsPerSec, burstBytes, ceilBurstBytes } = object;
        // Of a class with others under it tc tells no quantum: it is not used.
        const quantum = parents.has(minor) ? '' : ` quantum ${object.quantumBytes}`;
        return `class ${handle(minor)} parent ${handle(parentMinor)} rate ${rateBitsPerSec} ceil ${ceilBitsPerSec} burst ${burstBytes} cburst ${ceilBurstBytes}${quantum}${object.fairQueue ? ' fq_codel' : ''}`;
      }
    }
  };
  return [...objects.map(line), ...foreign.map(({ type, handle: at }) => `foreign ${type} ${at}`)].sort();
}
