import assert from 'node:assert/strict';
import { BRIDGE_PORTS_MAX, type LinkChange, type LinkName, type LinkSpec } from '../../src/host/links.ts';
import { assertApplied, assertRefused, type ContractCase, type ContractFixture } from './contract.ts';
import { addEntries, address, bridge, change, makeLinks, makeNamespaces, setLinks, veth, vxlan } from './network.ts';

const create = ({ host, settle }: ContractFixture, specs: readonly LinkSpec[]) =>
  settle(() => host.links.create(specs));
const set = ({ host, settle }: ContractFixture, changes: readonly LinkChange[]) =>
  settle(() => host.links.set(changes));
const remove = ({ host, settle }: ContractFixture, links: readonly LinkName[]) =>
  settle(() => host.links.remove(links));
const inHost = (name: string): LinkName => ({ namespace: '', name });
const names = async ({ host }: ContractFixture, namespace = ''): Promise<string[]> =>
  (await host.links.list([namespace])).map(({ name }) => name);

const MAC = '02:70:6c:00:00:01';

/** What `Links` promises. */
export const linksContract: readonly ContractCase[] = [
  {
    name: 'create makes both ends of a veth, down, with their marks, MACs and MTUs, without IPv6',
    async run(fixture) {
      const { host, readBack } = fixture;
      await makeNamespaces(fixture, ['web']);
      const spec: LinkSpec = {
        namespace: '',
        name: 'v0',
        alias: 'contract v0',
        mtu: 1400,
        kind: { type: 'veth', peer: { namespace: 'web', name: 'eth0', alias: 'contract web', mac: MAC, mtu: 1450 } },
      };
      assertApplied(await create(fixture, [spec]), 1);
      const here = await readBack.link(inHost('v0'));
      const there = await readBack.link({ namespace: 'web', name: 'eth0' });
      assert.ok(here && there);
      const common = {
        type: 'veth',
        up: false,
        master: null,
        learning: true,
        hairpin: false,
        forwarding: false,
        ipv6: false,
        // Until it is first up.
        qdisc: 'noop',
      } as const;
      assert.deepEqual(here, { ...common, mac: here.mac, mtu: 1400, alias: 'contract v0' });
      assert.deepEqual(there, { ...common, mac: MAC, mtu: 1450, alias: 'contract web' });
      assert.deepEqual(
        (await host.links.list(['web', ''])).filter(({ name }) => name !== 'lo'),
        [
          { ...here, namespace: '', name: 'v0', carrier: false },
          { ...there, namespace: 'web', name: 'eth0', carrier: false },
        ],
      );
    },
  },
  {
    name: 'create makes a bridge and a VXLAN, and tells them again',
    async run(fixture) {
      const { host, readBack } = fixture;
      assertApplied(await create(fixture, [bridge('br0'), { ...vxlan('vx0', 42, '192.168.77.11'), mac: MAC }]), 2);
      assert.equal((await readBack.link(inHost('br0')))?.type, 'bridge');
      const read = await readBack.link(inHost('vx0'));
      assert.deepEqual({ type: read?.type, mtu: read?.mtu, mac: read?.mac }, { type: 'vxlan', mtu: 1450, mac: MAC });
      const told = (await host.links.list([''])).find(({ name }) => name === 'vx0');
      assert.deepEqual(
        { vni: told?.vni, local: told?.local, udpPort: told?.udpPort },
        { vni: 42, local: '192.168.77.11', udpPort: 4789 },
      );
    },
  },
  {
    name: 'a macvlan in a namespace may be called as its parent is called',
    async run(fixture) {
      const { readBack } = fixture;
      await fixture.another('other');
      await makeNamespaces(fixture, ['web', 'db']);
      const macvlan = (namespace: string): LinkSpec => ({
        namespace,
        name: 'eth0',
        alias: 'contract',
        kind: { type: 'macvlan', parent: 'eth0' },
      });
      assertApplied(await create(fixture, [macvlan('web'), macvlan('db')]), 2);
      // Another time it is there.
      assertApplied(await create(fixture, [macvlan('web')]), 1);
      for (const namespace of ['web', 'db'])
        assert.equal((await readBack.link({ namespace, name: 'eth0' }))?.type, 'macvlan');
    },
  },
  {
    name: 'create makes a macvlan into a namespace; without its parent: ENODEV',
    async run(fixture) {
      const { readBack } = fixture;
      await fixture.another('other');
      await makeNamespaces(fixture, ['web']);
      const macvlan = (name: string, parent: string): LinkSpec => ({
        namespace: 'web',
        name,
        alias: 'contract',
        kind: { type: 'macvlan', parent },
      });
      assertRefused(await create(fixture, [macvlan('intra0', 'eth0'), macvlan('intra1', 'nosuch')]), {
        applied: 1,
        code: 'ENODEV',
        operation: 'links.create',
        target: 'web: intra1',
      });
      assert.equal((await readBack.link({ namespace: 'web', name: 'intra0' }))?.type, 'macvlan');
      assert.equal(await readBack.link({ namespace: 'web', name: 'intra1' }), null);
    },
  },
  {
    name: 'create leaves one of that name and kind as it is; one of another kind: EEXIST, and the rest is not tried',
    async run(fixture) {
      const { readBack } = fixture;
      await makeNamespaces(fixture, ['web']);
      await makeLinks(fixture, [veth('v0', 'web'), vxlan('vx0', 1, '192.168.77.11')]);
      await setLinks(fixture, [change('', 'v0', { alias: 'mine', up: true })]);
      assertApplied(await create(fixture, [veth('v0', 'web'), vxlan('vx0', 1, '192.168.77.11')]), 2);
      const kept = await readBack.link(inHost('v0'));
      assert.deepEqual({ alias: kept?.alias, up: kept?.up }, { alias: 'mine', up: true });
      for (const other of [bridge('v0'), { ...veth('v0', 'web', 'eth1') }, { ...vxlan('vx0', 2, '192.168.77.11') }])
        assertRefused(await create(fixture, [bridge('before'), other, bridge('after')]), {
          applied: 1,
          code: 'EEXIST',
          operation: 'links.create',
          target: other.name,
        });
      assert.deepEqual(await names(fixture), ['before', 'lo', 'v0', 'vx0']);
      assert.deepEqual(await names(fixture, 'web'), ['eth0', 'lo']);
    },
  },
  {
    name: 'a name of 15 characters is one, of 16: ERANGE, at either end; an empty one: EINVAL',
    async run(fixture) {
      await makeNamespaces(fixture, ['web']);
      assertApplied(await create(fixture, [bridge('a23456789012345')]), 1);
      for (const spec of [bridge('a234567890123456'), veth('v0', 'web', 'a234567890123456')])
        assertRefused(await create(fixture, [spec]), {
          applied: 0,
          code: 'ERANGE',
          operation: 'links.create',
          target: spec.name,
        });
      for (const name of ['', 'a/b', 'v%d'])
        assertRefused(await create(fixture, [bridge(name)]), {
          applied: 0,
          code: 'EINVAL',
          operation: 'links.create',
          target: name,
        });
      assert.deepEqual(await names(fixture), ['a23456789012345', 'lo']);
    },
  },
  {
    name: 'create, set: ENODEV where a namespace is not there; list and remove know none in it',
    async run(fixture) {
      const refused = { applied: 0, code: 'ENODEV' } as const;
      assertRefused(await create(fixture, [veth('v0', 'nowhere')]), {
        ...refused,
        operation: 'links.create',
        target: 'v0',
      });
      assertRefused(await create(fixture, [bridge('br0', 'nowhere')]), {
        ...refused,
        operation: 'links.create',
        target: 'nowhere: br0',
      });
      assertRefused(await set(fixture, [change('nowhere', 'lo', { up: true })]), {
        ...refused,
        operation: 'links.set',
        target: 'nowhere: lo',
      });
      assertApplied(await remove(fixture, [{ namespace: 'nowhere', name: 'v0' }]), 1);
      assert.deepEqual(await names(fixture, 'nowhere'), []);
      assert.deepEqual(await names(fixture), ['lo']);
    },
  },
  {
    name: 'set changes what is named and nothing else, and takes a port off its bridge again',
    async run(fixture) {
      const { host, readBack } = fixture;
      await makeNamespaces(fixture, ['web']);
      await makeLinks(fixture, [bridge('br0'), veth('v0', 'web')]);
      await setLinks(fixture, [
        change('', 'br0', { up: true, ipv6: true }),
        change('web', 'eth0', { up: true }),
        change('', 'v0', {
          up: true,
          mtu: 1400,
          mac: MAC,
          alias: 'changed',
          master: 'br0',
          learning: false,
          hairpin: true,
          forwarding: true,
        }),
      ]);
      const read = await readBack.link(inHost('v0'));
      assert.deepEqual(read, {
        type: 'veth',
        up: true,
        mtu: 1400,
        mac: MAC,
        alias: 'changed',
        master: 'br0',
        learning: false,
        hairpin: true,
        forwarding: true,
        ipv6: false,
        qdisc: 'noqueue',
      });
      assert.equal((await readBack.link(inHost('br0')))?.ipv6, true);
      const told = (await host.links.list([''])).find(({ name }) => name === 'v0');
      assert.deepEqual(told, { ...read, namespace: '', name: 'v0', carrier: true });
      await setLinks(fixture, [change('', 'v0', { master: null, forwarding: false })]);
      const off = await readBack.link(inHost('v0'));
      assert.deepEqual(
        { master: off?.master, forwarding: off?.forwarding, up: off?.up, alias: off?.alias },
        { master: null, forwarding: false, up: true, alias: 'changed' },
      );
      await setLinks(fixture, [change('web', 'eth0', { up: false })]);
      assert.equal((await host.links.list([''])).find(({ name }) => name === 'v0')?.carrier, false);
    },
  },
  {
    name: 'set stops at the first that is not there, or whose master is not: ENODEV; the rest is untouched',
    async run(fixture) {
      const { readBack } = fixture;
      await makeLinks(fixture, [bridge('a'), bridge('b'), bridge('c')]);
      const refused = { applied: 1, code: 'ENODEV', operation: 'links.set' } as const;
      assertRefused(
        await set(fixture, [
          change('', 'a', { up: true }),
          change('', 'nosuch', { up: true }),
          change('', 'c', { up: true }),
        ]),
        { ...refused, target: 'nosuch' },
      );
      assertRefused(
        await set(fixture, [
          change('', 'b', { up: true }),
          change('', 'c', { master: 'nosuch' }),
          change('', 'c', { up: true }),
        ]),
        { ...refused, target: 'c' },
      );
      const up = await Promise.all(['a', 'b', 'c'].map(async (name) => (await readBack.link(inHost(name)))?.up));
      assert.deepEqual(up, [true, true, false]);
    },
  },
  {
    name: `a bridge holds ${BRIDGE_PORTS_MAX} ports; one more: EXFULL`,
    async run(fixture) {
      const { readBack } = fixture;
      await makeNamespaces(fixture, ['web']);
      const ports = Array.from({ length: BRIDGE_PORTS_MAX + 1 }, (_, index) => `p${index}`);
      await makeLinks(fixture, [bridge('br0'), ...ports.map((port, index) => veth(port, 'web', `e${index}`))]);
      assertRefused(
        await set(
          fixture,
          ports.map((port) => change('', port, { master: 'br0' })),
        ),
        {
          applied: BRIDGE_PORTS_MAX,
          code: 'EXFULL',
          operation: 'links.set',
          target: `p${BRIDGE_PORTS_MAX}`,
        },
      );
      assert.equal((await readBack.link(inHost(`p${BRIDGE_PORTS_MAX - 1}`)))?.master, 'br0');
      assert.equal((await readBack.link(inHost(`p${BRIDGE_PORTS_MAX}`)))?.master, null);
      assertApplied(await remove(fixture, ports.map(inHost)), ports.length);
      assert.deepEqual(await names(fixture), ['br0', 'lo']);
      assert.deepEqual(await names(fixture, 'web'), ['lo']);
    },
  },
  {
    name: 'remove takes a link with what hangs on it; one that is gone, or was never, is no error; its name is free',
    async run(fixture) {
      const { readBack } = fixture;
      await makeNamespaces(fixture, ['web']);
      await makeLinks(fixture, [veth('v0', 'web'), veth('v1', 'web', 'eth1'), bridge('br0')]);
      await addEntries(fixture, [address('', 'v0', '10.1.0.1/24')]);
      // Its other end goes with it: the second name is gone by then.
      assertApplied(
        await remove(fixture, [inHost('v0'), { namespace: 'web', name: 'eth0' }, inHost('never'), inHost('br0')]),
        4,
      );
      assert.deepEqual(await names(fixture), ['lo', 'v1']);
      assert.deepEqual(await names(fixture, 'web'), ['eth1', 'lo']);
      assert.deepEqual(await readBack.routing(''), []);
      assertApplied(await create(fixture, [bridge('v0')]), 1);
      assertApplied(await remove(fixture, [{ namespace: 'web', name: 'eth1' }]), 1);
      assert.equal(await readBack.link(inHost('v1')), null);
    },
  },
  {
    name: 'remove stops at one that cannot be removed: EOPNOTSUPP; those after it are untouched',
    async run(fixture) {
      await makeLinks(fixture, [bridge('a'), bridge('b')]);
      assertRefused(await remove(fixture, [inHost('a'), inHost('lo'), inHost('b')]), {
        applied: 1,
        code: 'EOPNOTSUPP',
        operation: 'links.remove',
        target: 'lo',
      });
      assert.deepEqual(await names(fixture), ['b', 'lo']);
    },
  },
];
