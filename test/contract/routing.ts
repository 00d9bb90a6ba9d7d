import assert from 'node:assert/strict';
import { entryKey, type RoutingEntry } from '../../src/host/routing.ts';
import { assertApplied, assertRefused, type ContractCase, type ContractFixture } from './contract.ts';
import { address, bridge, change, makeLinks, makeNamespaces, setLinks, veth, vxlan } from './network.ts';

const add = ({ host, settle }: ContractFixture, entries: readonly RoutingEntry[]) =>
  settle(() => host.routing.add(entries));
const remove = ({ host, settle }: ContractFixture, entries: readonly RoutingEntry[]) =>
  settle(() => host.routing.remove(entries));

const MAC = '02:70:6c:00:00:01';
const OTHER_MAC = '02:70:6c:00:00:02';

/** A bridge with a port, a VXLAN, and a container, all up. */
async function lay(fixture: ContractFixture): Promise<void> {
  await makeNamespaces(fixture, ['web']);
  await makeLinks(fixture, [bridge('br0'), veth('v0', 'web'), vxlan('vx0', 42, '192.168.77.11')]);
  await setLinks(fixture, [
    change('', 'br0', { up: true }),
    change('', 'v0', { up: true, master: 'br0' }),
    change('', 'vx0', { up: true, master: 'br0' }),
    change('web', 'eth0', { up: true }),
  ]);
}

const at = { namespace: '', link: 'br0' } as const;

/** One of each kind. */
const ALL: readonly RoutingEntry[] = [
  address('', 'br0', '10.1.0.1/24'),
  address('web', 'eth0', '10.1.0.5/24'),
  { kind: 'route', namespace: 'web', link: 'eth0', to: '0.0.0.0/0', via: '10.1.0.1' },
  { kind: 'route', ...at, to: '10.2.0.0/16', via: '172.16.0.9' },
  { kind: 'route', ...at, to: '10.3.0.7/32', source: '10.1.0.1' },
  { kind: 'route', ...at, to: '0.0.0.0/0', via: '10.1.0.9', table: 1001 },
  { kind: 'rule', namespace: '', from: '10.1.0.1', table: 1001 },
  { kind: 'neighbour', ...at, address: '10.1.0.5', mac: MAC },
  { kind: 'proxy', ...at, address: '10.1.0.77' },
  { kind: 'fdb', namespace: '', link: 'vx0', mac: MAC, destination: '192.168.77.12' },
  { kind: 'fdb', namespace: '', link: 'v0', mac: OTHER_MAC },
];

const keysOf = (entries: readonly RoutingEntry[]): string[] => entries.map(entryKey).toSorted();

async function assertThere(
  { host, readBack }: ContractFixture,
  expected: readonly RoutingEntry[],
  namespaces = ['', 'web'],
): Promise<void> {
  const read = (await Promise.all(namespaces.map((namespace) => readBack.routing(namespace)))).flat();
  assert.deepEqual(read.toSorted(), keysOf(expected));
  const listed = await host.routing.list(namespaces);
  assert.deepEqual(listed.map(entryKey), keysOf(expected));
}

/** What `Routing` promises. */
export const routingContract: readonly ContractCase[] = [
  {
    name: 'add puts in one of each kind, once; list tells them and not what the kernel puts there itself',
    async run(fixture) {
      await lay(fixture);
      await assertThere(fixture, []);
      assertApplied(await add(fixture, ALL), ALL.length);
      await assertThere(fixture, ALL);
      assertApplied(await add(fixture, ALL), ALL.length);
      await assertThere(fixture, ALL);
      // Entries are told in the fields they were given in.
      const listed = await fixture.host.routing.list(['', 'web']);
      const byKey = (a: RoutingEntry, b: RoutingEntry): number => (entryKey(a) < entryKey(b) ? -1 : 1);
      assert.deepEqual(listed, ALL.toSorted(byKey));
    },
  },
  {
    name: 'remove takes out what is named; what is gone already, or whose link or namespace is, is no error',
    async run(fixture) {
      await lay(fixture);
      assertApplied(await add(fixture, ALL), ALL.length);
      const gone = ALL.filter(({ kind }) => kind !== 'address');
      assertApplied(await remove(fixture, gone), gone.length);
      await assertThere(
        fixture,
        ALL.filter(({ kind }) => kind === 'address'),
      );
      assertApplied(await remove(fixture, ALL), ALL.length);
      await assertThere(fixture, []);
      const elsewhere = ALL.map((entry): RoutingEntry => ({ ...entry, namespace: 'nowhere' }));
      assertApplied(await remove(fixture, elsewhere), elsewhere.length);
      assertApplied(await remove(fixture, [address('', 'nosuch', '10.1.0.1/24')]), 1);
    },
  },
  {
    name: 'add stops at the first whose link or namespace is not there: ENODEV; the rest is not tried',
    async run(fixture) {
      await lay(fixture);
      const first = address('', 'br0', '10.1.0.1/24');
      const last = address('', 'br0', '10.1.0.2/24');
      for (const missing of [
        address('', 'nosuch', '10.1.0.9/24'),
        address('nowhere', 'eth0', '10.1.0.9/24'),
        { kind: 'rule', namespace: 'nowhere', from: '10.1.0.1', table: 1001 } as const,
      ])
        assertRefused(await add(fixture, [first, missing, last]), {
          applied: 1,
          code: 'ENODEV',
          operation: 'routing.add',
          target: entryKey(missing),
        });
      await assertThere(fixture, [first]);
    },
  },
  {
    name: 'another in its place is refused: EEXIST, and stays; removing one that is not there leaves that',
    async run(fixture) {
      await lay(fixture);
      const there: RoutingEntry[] = [
        { kind: 'route', ...at, to: '10.2.0.0/16', via: '172.16.0.9' },
        { kind: 'neighbour', ...at, address: '10.1.0.5', mac: MAC },
        { kind: 'fdb', namespace: '', link: 'vx0', mac: MAC, destination: '192.168.77.12' },
        { kind: 'fdb', namespace: '', link: 'v0', mac: OTHER_MAC },
      ];
      const others: RoutingEntry[] = [
        { kind: 'route', ...at, to: '10.2.0.0/16', via: '172.16.0.8' },
        { kind: 'neighbour', ...at, address: '10.1.0.5', mac: OTHER_MAC },
        { kind: 'fdb', namespace: '', link: 'vx0', mac: MAC, destination: '192.168.77.13' },
        { kind: 'fdb', namespace: '', link: 'vx0', mac: OTHER_MAC },
      ];
      assertApplied(await add(fixture, there), there.length);
      for (const other of others)
        assertRefused(await add(fixture, [other]), {
          applied: 0,
          code: 'EEXIST',
          operation: 'routing.add',
          target: entryKey(other),
        });
      assertApplied(await remove(fixture, others), others.length);
      await assertThere(fixture, there);
    },
  },
  {
    name: 'an address or MAC that is none is refused: EINVAL, as is a destination with bits beyond its length',
    async run(fixture) {
      await lay(fixture);
      const wrong: RoutingEntry[] = [
        address('', 'br0', '10.1.0.256/24'),
        { kind: 'neighbour', ...at, address: '10.1.0.5', mac: '02:70' },
        { kind: 'route', ...at, to: '10.2.0.1/16' },
      ];
      for (const entry of wrong)
        assertRefused(await add(fixture, [entry]), {
          applied: 0,
          code: 'EINVAL',
          operation: 'routing.add',
          target: entryKey(entry),
        });
      await assertThere(fixture, []);
    },
  },
  {
    name: 'removing one address of a network leaves the others of it',
    async run(fixture) {
      await makeNamespaces(fixture, ['web']);
      await makeLinks(fixture, [bridge('br0')]);
      const [first, second] = [address('', 'br0', '10.1.0.1/24'), address('', 'br0', '10.1.0.2/24')] as const;
      assertApplied(await add(fixture, [first, second]), 2);
      assertApplied(await remove(fixture, [first]), 1);
      await assertThere(fixture, [second]);
    },
  },
  {
    name: 'what is in a namespace is in no other; of one that is not there there is nothing',
    async run(fixture) {
      const { host } = fixture;
      await lay(fixture);
      assertApplied(await add(fixture, ALL), ALL.length);
      await assertThere(
        fixture,
        ALL.filter(({ namespace }) => namespace === 'web'),
        ['web'],
      );
      assert.deepEqual(await host.routing.list(['nowhere']), []);
      assertApplied(await fixture.settle(() => host.links.remove([{ namespace: '', name: 'v0' }])), 1);
      await assertThere(fixture, [], ['web']);
    },
  },
];
