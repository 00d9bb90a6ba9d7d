import assert from 'node:assert/strict';
import { assertApplied, assertRefused, type ContractCase, type ContractFixture } from './contract.ts';
import { makeNamespaces, veth, makeLinks } from './network.ts';

const create = ({ host, settle }: ContractFixture, names: readonly string[]) =>
  settle(() => host.namespaces.create(names));
const remove = ({ host, settle }: ContractFixture, names: readonly string[]) =>
  settle(() => host.namespaces.remove(names));

/** What `Namespaces` promises. */
export const namespacesContract: readonly ContractCase[] = [
  {
    name: 'create makes a batch, bare: lo up, nothing forwarded, no IPv6, no other link',
    async run(fixture) {
      const { host, readBack } = fixture;
      assert.deepEqual(await host.namespaces.list(), []);
      assertApplied(await create(fixture, ['web', 'db.1', 'A_b-c']), 3);
      assert.deepEqual(await host.namespaces.list(), ['A_b-c', 'db.1', 'web']);
      assert.deepEqual(await readBack.namespaces(), ['A_b-c', 'db.1', 'web']);
      const lo = await readBack.link({ namespace: 'web', name: 'lo' });
      assert.ok(lo);
      const { type, up, forwarding, ipv6 } = lo;
      assert.deepEqual({ type, up, forwarding, ipv6 }, { type: 'loopback', up: true, forwarding: false, ipv6: false });
      assert.deepEqual(
        (await host.links.list(['web'])).map(({ name }) => name),
        ['lo'],
      );
      assert.deepEqual(await readBack.routing('web'), []);
    },
  },
  {
    name: 'create leaves one that is there as it is, with what is in it',
    async run(fixture) {
      const { host } = fixture;
      await makeNamespaces(fixture, ['web']);
      await makeLinks(fixture, [veth('v0', 'web')]);
      assertApplied(await create(fixture, ['web']), 1);
      assert.deepEqual(
        (await host.links.list(['web'])).map(({ name }) => name),
        ['eth0', 'lo'],
      );
    },
  },
  {
    name: 'a name that cannot be one is refused: EINVAL; those before it are made, those after it are not',
    async run(fixture) {
      const { readBack } = fixture;
      for (const name of ['', 'a/b', '/proc/1/ns/net', '..', 'a+b', 'a b'])
        assertRefused(await create(fixture, ['first', name, 'third']), {
          applied: 1,
          code: 'EINVAL',
          operation: 'namespaces.create',
          target: name,
        });
      assert.deepEqual(await readBack.namespaces(), ['first']);
    },
  },
  {
    name: "remove takes them with their links, and a veth's other end; one that is gone is no error",
    async run(fixture) {
      const { host, readBack } = fixture;
      await makeNamespaces(fixture, ['web', 'db', 'kept']);
      await makeLinks(fixture, [veth('v0', 'web'), veth('v1', 'db'), veth('v2', 'kept')]);
      assertApplied(await remove(fixture, ['web', 'never', 'db']), 3);
      // At once, not when the kernel comes to it.
      assert.deepEqual(
        (await host.links.list([''])).map(({ name }) => name),
        ['lo', 'v2'],
      );
      assert.deepEqual(await readBack.namespaces(), ['kept']);
      assert.equal(await readBack.link({ namespace: '', name: 'v0' }), null);
      assert.equal(await readBack.link({ namespace: '', name: 'v1' }), null);
      assert.ok(await readBack.link({ namespace: '', name: 'v2' }));
      assert.deepEqual(await host.links.list(['web']), []);
      assertApplied(await remove(fixture, ['web']), 1);
    },
  },
  {
    name: "remove refuses what is not Plimsoll's: EINVAL, and goes no further",
    async run(fixture) {
      const { readBack } = fixture;
      await makeNamespaces(fixture, ['a', 'b']);
      assertRefused(await remove(fixture, ['a', '/proc/1/ns/net', 'b']), {
        applied: 1,
        code: 'EINVAL',
        operation: 'namespaces.remove',
        target: '/proc/1/ns/net',
      });
      assert.deepEqual(await readBack.namespaces(), ['b']);
    },
  },
  {
    name: 'one of the same name on another host is another',
    async run(fixture) {
      const { host, settle, another } = fixture;
      const other = await another('other');
      await makeNamespaces(fixture, ['web']);
      assert.deepEqual(await other.namespaces.list(), []);
      assertApplied(await settle(() => other.namespaces.remove(['web'])), 1);
      assert.deepEqual(await host.namespaces.list(), ['web']);
    },
  },
];
