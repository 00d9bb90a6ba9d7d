import assert from 'node:assert/strict';
import type { LinkMove, LinkName } from '../../src/host/links.ts';
import { assertApplied, assertRefused, type ContractCase, type ContractFixture } from './contract.ts';
import {
  addEntries,
  address,
  assertAnswered,
  bridge,
  change,
  icmp,
  makeLinks,
  makeNamespaces,
  probe,
  setLinks,
  veth,
} from './network.ts';

const move = ({ host, settle }: ContractFixture, moves: readonly LinkMove[]) => settle(() => host.links.move(moves));
const at = (namespace: string, name: string): LinkName => ({ namespace, name });
const names = async ({ host }: ContractFixture, namespace: string): Promise<string[]> =>
  (await host.links.list([namespace])).map(({ name }) => name).filter((name) => name !== 'lo');

/** What `links.move` promises. */
export const linkMovesContract: readonly ContractCase[] = [
  {
    name: 'a link goes into another namespace by another name, down, with its mark and MAC, without address and master; once',
    async run(fixture) {
      const { readBack } = fixture;
      await makeNamespaces(fixture, ['web', 'db']);
      await makeLinks(fixture, [veth('v0', 'web'), bridge('br0')]);
      await setLinks(fixture, [
        change('', 'br0', { up: true }),
        change('', 'v0', { up: true, master: 'br0' }),
        change('web', 'eth0', { up: true }),
      ]);
      await addEntries(fixture, [
        address('', 'v0', '10.1.0.1/24'),
        { kind: 'route', namespace: '', link: 'v0', to: '10.2.0.0/16' },
        { kind: 'neighbour', namespace: '', link: 'v0', address: '10.1.0.9', mac: '02:70:6c:00:00:09' },
      ]);
      const before = await readBack.link(at('', 'v0'));
      const moved = { ...at('', 'v0'), to: at('db', 'eth7') };
      assertApplied(await move(fixture, [moved, moved]), 2);
      const after = await readBack.link(moved.to);
      assert.deepEqual(
        { type: after?.type, up: after?.up, mac: after?.mac, alias: after?.alias, master: after?.master },
        { type: 'veth', up: false, mac: before?.mac, alias: 'contract v0', master: null },
      );
      assert.deepEqual(await readBack.routing('db'), []);
      assert.deepEqual(await readBack.routing(''), []);
      assert.deepEqual(await names(fixture, ''), ['br0']);

      // Still the other end of the same cable.
      await setLinks(fixture, [change('db', 'eth7', { up: true })]);
      await addEntries(fixture, [address('db', 'eth7', '10.1.0.1/24'), address('web', 'eth0', '10.1.0.5/24')]);
      assertAnswered(await probe(fixture, [], [icmp('db', '10.1.0.5'), icmp('web', '10.1.0.1')]), ['kernel', 'kernel']);
      // From one namespace to another, and home.
      assertApplied(await move(fixture, [{ ...moved.to, to: at('web', 'eth1') }]), 1);
      assertApplied(await move(fixture, [{ ...at('web', 'eth1'), to: at('', 'v0') }]), 1);
      assert.deepEqual(await names(fixture, 'db'), []);
      assert.deepEqual(await names(fixture, 'web'), ['eth0']);
      assert.deepEqual(await names(fixture, ''), ['br0', 'v0']);
    },
  },
  {
    name: 'within a namespace a link gets another name, down and without addresses; to where it is: nothing happens',
    async run(fixture) {
      const { readBack } = fixture;
      await makeNamespaces(fixture, ['web']);
      await makeLinks(fixture, [veth('v0', 'web')]);
      await setLinks(fixture, [change('', 'v0', { up: true })]);
      await addEntries(fixture, [address('', 'v0', '10.1.0.1/24'), address('', 'v0', '10.1.0.2/24')]);
      assertApplied(await move(fixture, [{ ...at('', 'v0'), to: at('', 'v0') }]), 1);
      assert.equal((await readBack.link(at('', 'v0')))?.up, true);
      assertApplied(await move(fixture, [{ ...at('', 'v0'), to: at('', 'v1') }]), 1);
      assert.deepEqual(await names(fixture, ''), ['v1']);
      assert.equal((await readBack.link(at('', 'v1')))?.up, false);
      assert.deepEqual(await readBack.routing(''), []);
    },
  },
  {
    name: 'a macvlan goes elsewhere and passes what it passed',
    async run(fixture) {
      const other = await fixture.another('other');
      await makeNamespaces(fixture, ['web', 'db']);
      await makeLinks(fixture, [
        { ...at('web', 'intra0'), alias: 'contract', kind: { type: 'macvlan', parent: 'eth0' } },
      ]);
      assertApplied(await move(fixture, [{ ...at('web', 'intra0'), to: at('db', 'eth0') }]), 1);
      await setLinks(fixture, [change('db', 'eth0', { up: true })]);
      await addEntries(fixture, [address('db', 'eth0', '192.168.77.50/24')]);
      const results = await probe({ ...fixture, host: other }, [], [icmp('', '192.168.77.50')]);
      assertAnswered(results, ['kernel']);
    },
  },
  {
    name: 'neither here nor there, or no such namespace: ENODEV; the name is taken there: EEXIST; a bridge stays: EINVAL',
    async run(fixture) {
      await makeNamespaces(fixture, ['web', 'db']);
      await makeLinks(fixture, [veth('v0', 'web'), veth('v1', 'db'), veth('v2', 'db', 'eth1'), bridge('br0')]);
      const good = { ...at('', 'v0'), to: at('db', 'moved') };
      const after = { ...at('', 'v2'), to: at('db', 'after') };
      for (const [bad, code] of [
        [{ ...at('', 'never'), to: at('db', 'x') }, 'ENODEV'],
        [{ ...at('', 'v1'), to: at('nowhere', 'x') }, 'ENODEV'],
        [{ ...at('nowhere', 'v1'), to: at('db', 'x') }, 'ENODEV'],
        [{ ...at('', 'v1'), to: at('db', 'eth1') }, 'EEXIST'],
        [{ ...at('', 'br0'), to: at('db', 'x') }, 'EINVAL'],
        [{ ...at('', 'lo'), to: at('db', 'x') }, 'EINVAL'],
        [{ ...at('', 'v1'), to: at('db', 'a/b') }, 'EINVAL'],
        [{ ...at('', 'v1'), to: at('db', 'sixteen-letters!') }, 'ERANGE'],
      ] as const) {
        assertRefused(await move(fixture, [good, bad, after]), {
          applied: 1,
          code,
          operation: 'links.move',
          target: bad.namespace === '' ? bad.name : `${bad.namespace}: ${bad.name}`,
        });
        assert.deepEqual(await names(fixture, ''), ['br0', 'v1', 'v2']);
        assert.deepEqual(await names(fixture, 'db'), ['eth0', 'eth1', 'moved']);
      }
    },
  },
];
