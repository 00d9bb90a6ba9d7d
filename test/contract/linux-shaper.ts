// What only a real kernel can show of shaping: what others do to it by hand, and the ways it has of taking marks as classes.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { commandOf, USUAL_LAYOUT } from '../../backends/linux/commands.ts';
import { ownNamespaceOf } from '../../backends/linux/fabric.ts';
import { NetworkRoot } from '../../backends/linux/netns.ts';
import { runMark } from '../../backends/linux/owner.ts';
import type { Classifier } from '../../backends/linux/shaper-filter.ts';
import { linuxShaper } from '../../backends/linux/shaper.ts';
import type { Host } from '../../src/host/host.ts';
import type { LinkName } from '../../src/host/links.ts';
import type { Shaper, ShaperObject } from '../../src/host/shaper.ts';
import { assertApplied, assertRefused, type ContractCase, type ContractFixture } from './contract.ts';
import { entries } from './linux-host.ts';
import { udp } from './network.ts';
import { shaperPacketsContract } from './shaper-packets.ts';
import { addAll, filter, inOrderOfKey, makeLink, qdisc, shaperClass } from './shaper.ts';

const HERE: LinkName = { namespace: '', name: 'v0' };

function tc(host: Host, ...words: string[]): string {
  return execFileSync('tc', ['-n', runMark(host.name), ...words], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

/** Of a cls_fw without handles the kernel tells, and then that its answer found no room: so tc fails, having shown it. */
const shownFilters = (host: Host): string =>
  spawnSync('tc', ['-n', runMark(host.name), 'filter', 'show', 'dev', 'v0'], { encoding: 'utf8' }).stdout;

function shaperBy(host: Host, classifiers: readonly Classifier[]): Shaper {
  const mark = runMark(host.name);
  return linuxShaper(new NetworkRoot({ mark, own: ownNamespaceOf(mark) }), classifiers);
}

/** The fixture with a host that takes marks by these. */
const withClassifiers = (fixture: ContractFixture, classifiers: readonly Classifier[]): ContractFixture => ({
  ...fixture,
  host: { ...fixture.host, shaper: shaperBy(fixture.host, classifiers) },
});

async function has(fixture: ContractFixture, ability: RegExp): Promise<boolean> {
  const { abilities } = await fixture.host.machine.describe();
  return abilities.some(({ name, present, detail }) => present && ability.test(`${name}: ${detail}`));
}

export const linuxShaperContract: readonly ContractCase[] = [
  {
    name: 'a filter altered by hand, or with another beside it, is not told, and is laid anew',
    async run(fixture) {
      const { host, readBack } = fixture;
      await makeLink(fixture);
      await addAll(fixture, [qdisc(HERE), filter(HERE)]);
      const before = await readBack.shaper(HERE);
      const place = ['dev', HERE.name, 'parent', '504c:', 'protocol', 'all', 'prio', '1'];
      const blind = ['bpf', 'bytecode', '1,6 0 0 1347158019'];
      for (const [how, meddle] of [
        ['altered', () => tc(host, 'filter', 'replace', ...place, 'handle', '1', ...blind)],
        ['one beside it', () => tc(host, 'filter', 'add', ...place, ...blind)],
        [
          'one class for all',
          () => tc(host, 'filter', 'replace', ...place, 'handle', '1', ...blind, 'classid', '504c:3'),
        ],
        [
          'another protocol',
          () => {
            tc(host, 'filter', 'delete', ...place);
            tc(host, 'filter', 'add', 'dev', HERE.name, 'parent', '504c:', 'protocol', 'ip', 'prio', '1', ...blind);
          },
        ],
        ['gone', () => tc(host, 'filter', 'delete', 'dev', HERE.name, 'parent', '504c:')],
      ] as const) {
        meddle();
        assert.deepEqual((await host.shaper.list([HERE])).objects, [qdisc(HERE)], how);
        await addAll(fixture, [filter(HERE)]);
        assert.deepEqual(await readBack.shaper(HERE), before, how);
      }
    },
  },
  {
    name: 'a class changed by hand is told as it is, and takes its numbers again',
    async run(fixture) {
      const { host, readBack } = fixture;
      await makeLink(fixture);
      const wanted = shaperClass(HERE, 7);
      await addAll(fixture, [qdisc(HERE), wanted]);
      const before = await readBack.shaper(HERE);
      tc(host, ...'class change dev v0 parent 504c: classid 504c:7 htb rate 1mbit ceil 2mbit quantum 1500'.split(' '));
      const [told] = (await host.shaper.list([HERE])).objects;
      assert.deepEqual(told, {
        ...wanted,
        rateBitsPerSec: 1_000_000,
        ceilBitsPerSec: 2_000_000,
        // tc's own: what passes in a tick of a clock of 1 GHz, and one packet.
        burstBytes: 1600,
        ceilBurstBytes: 1600,
        quantumBytes: 1500,
      });
      await addAll(fixture, [wanted]);
      assert.deepEqual(await readBack.shaper(HERE), before);
    },
  },
  {
    name: 'a qdisc of another kind under our handle is somebody else’s',
    async run(fixture) {
      const { host, settle } = fixture;
      await makeLink(fixture);
      tc(host, ...'qdisc add dev v0 root handle 504c: tbf rate 1mbit burst 5kb latency 70ms'.split(' '));
      assert.deepEqual(await host.shaper.list([HERE]), {
        objects: [],
        foreign: [{ ...HERE, type: 'tbf', handle: '504c:' }],
      });
      assertRefused(await settle(() => host.shaper.add([qdisc(HERE)])), {
        applied: 0,
        code: 'EEXIST',
        operation: 'shaper.add',
        target: 'qdisc htb 504c: dev v0',
      });
      assertApplied(await settle(() => host.shaper.remove([qdisc(HERE)])), 1);
      assert.match(tc(host, 'qdisc', 'show', 'dev', 'v0'), /^qdisc tbf 504c:/);
    },
  },
  {
    name: 'a queue changed by hand is told as none, and is laid anew',
    async run(fixture) {
      if (!(await has(fixture, /^fair queues/))) return;
      const { host, readBack } = fixture;
      await makeLink(fixture);
      const wanted = shaperClass(HERE, 7, { fairQueue: true });
      await addAll(fixture, [qdisc(HERE), wanted]);
      const before = await readBack.shaper(HERE);
      for (const queue of ['fq_codel flows 8', 'bfifo limit 3000', 'fq_codel limit 10 flows 64']) {
        tc(host, ...`qdisc replace dev v0 parent 504c:7 handle 9: ${queue}`.split(' '));
        assert.deepEqual((await host.shaper.list([HERE])).objects[0], { ...wanted, fairQueue: false }, queue);
        await addAll(fixture, [wanted]);
        assert.deepEqual(await readBack.shaper(HERE), before, queue);
      }
    },
  },
  {
    name: 'what a class or its queue would not take is counted as dropped',
    async run(fixture) {
      const { host, settle } = fixture;
      await fixture.another('other');
      const at: LinkName = { namespace: '', name: 'eth0' };
      // A byte a second: what the burst does not let pass stays, however slow the machine.
      const slow = { rateBitsPerSec: 8, ceilBitsPerSec: 8, burstBytes: 200, ceilBurstBytes: 200 };
      const queues = (await has(fixture, /^fair queues/)) ? ['pfifo limit 2', 'fq_codel limit 2'] : ['pfifo limit 2'];
      for (const queue of queues) {
        await addAll(fixture, [qdisc(at, 1), shaperClass(at, 1, slow)]);
        tc(host, ...`qdisc replace dev eth0 parent 504c:1 handle 9: ${queue}`.split(' '));
        const probes = Array.from({ length: 20 }, () => udp('', '192.168.77.12', { payloadBytes: 100 }));
        await settle(() => host.probes.send(probes));
        const [counted] = await host.shaper.counters([at]);
        // Two wait, and no more than three have passed.
        assert.ok(counted!.droppedPackets >= 15, `${queue}: ${counted!.droppedPackets} dropped`);
        assertApplied(await settle(() => host.shaper.remove([qdisc(at)])), 1);
      }
    },
  },
  {
    name: 'without cls_bpf, cls_fw takes marks as classes, where the kernel has it; where it has neither: EOPNOTSUPP',
    async run(fixture) {
      const { host, settle } = fixture;
      await makeLink(fixture);
      await addAll(fixture, [qdisc(HERE)]);
      assertRefused(await settle(() => shaperBy(host, []).add([filter(HERE)])), {
        applied: 0,
        code: 'EOPNOTSUPP',
        operation: 'shaper.add',
        target: 'filter by mark 504c: dev v0',
      });
      const byForwarding = withClassifiers(fixture, ['fw']);
      if (!(await has(fixture, /cls_fw: laid one/))) {
        const refused = await settle(() => byForwarding.host.shaper.add([filter(HERE)]));
        assert.equal(refused.error?.code, 'EOPNOTSUPP');
        assert.match(refused.error.message, /cls_fw/);
        return;
      }
      await addAll(byForwarding, [filter(HERE)]);
      assert.deepEqual((await host.shaper.list([HERE])).objects, [filter(HERE), qdisc(HERE)]);
      assert.match(shownFilters(host), / fw /);
      // The one is as good as the other: it stays.
      await addAll(fixture, [filter(HERE)]);
      assert.match(shownFilters(host), / fw /);
      tc(host, ...'filter add dev v0 parent 504c: protocol all prio 1 handle 5 fw classid 504c:3'.split(' '));
      assert.deepEqual((await host.shaper.list([HERE])).objects, [qdisc(HERE)]);
      assertApplied(await settle(() => host.shaper.remove([filter(HERE)])), 1);
      assert.equal(shownFilters(host), '');
    },
  },
  {
    name: 'by cls_fw packets go the same ways',
    async run(fixture) {
      if (!(await has(fixture, /cls_fw: laid one/))) return;
      for (const contractCase of shaperPacketsContract) await contractCase.run(withClassifiers(fixture, ['fw']));
    },
  },
  {
    name: 'the commands that a dry run prints do the same',
    async run(fixture) {
      const { host, readBack } = fixture;
      await makeLink(fixture);
      const fairQueue = await has(fixture, /^fair queues/);
      const objects: ShaperObject[] = [
        qdisc(HERE, 0xab),
        shaperClass(HERE, 1),
        shaperClass(HERE, 0xab, {
          parentMinor: 1,
          fairQueue,
          ceilBitsPerSec: 40_000_000_000,
          ceilBurstBytes: 5_000_000,
        }),
        filter(HERE),
      ];
      const place = { layout: USUAL_LAYOUT, root: 'contract', entries };
      const shell = (verb: 'shaper.add' | 'shaper.remove', each: readonly ShaperObject[]): string => {
        const commands = each.flatMap((object) => commandOf({ verb, with: object, why: '' }, place)).join('\n');
        return execFileSync('ip', ['netns', 'exec', runMark(host.name), 'sh', '-e', '-c', commands], {
          encoding: 'utf8',
        });
      };
      shell('shaper.add', objects);
      assert.deepEqual((await host.shaper.list([HERE])).objects, inOrderOfKey(objects));
      const lines = await readBack.shaper(HERE);
      shell('shaper.remove', objects.toReversed());
      assert.deepEqual(await readBack.shaper(HERE), []);
      await addAll(fixture, objects);
      assert.deepEqual(await readBack.shaper(HERE), lines);
    },
  },
];
