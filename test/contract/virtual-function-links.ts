import assert from 'node:assert/strict';
import type { VfName } from '../../src/host/virtual-functions.ts';
import { assertApplied, assertRefused, constant, type ContractCase, makeCgroups } from './contract.ts';
import { addEntries, address, assertAnswered, change, icmp, makeNamespaces, probe, setLinks } from './network.ts';
import { allVfs, assertKnobs, bind, enable, find, hand, linkOf, list, MAC, move, pfsOf, set, unbind } from './vf.ts';

/** What `VirtualFunctions` promises of the links of VFs, and `links.move` of such a link. */
export const virtualFunctionLinksContract: readonly ContractCase[] = [
  {
    name: 'bind brings a link of the MAC that was set before; one set after is the link’s only when it is bound anew',
    async run(fixture) {
      const [pf] = pfsOf(fixture);
      const vf = { pf, index: 0 };
      assertApplied(await enable(fixture, [{ pf, count: 2 }]), 1);
      assertApplied(await set(fixture, [{ ...vf, set: { mac: MAC(0) } }]), 1);
      assertRefused(await bind(fixture, [vf, vf, { pf, index: 2 }]), {
        applied: 2,
        code: 'EINVAL',
        operation: 'virtualFunctions.bind',
        target: `${pf} vf 2`,
      });
      const bound = await find(fixture, vf);
      assert.equal(bound.driver, 'igbvf');
      assert.equal(bound.link?.namespace, '');
      assert.equal(bound.linkMac, MAC(0));
      assert.equal((await fixture.readBack.link(bound.link))?.mac, MAC(0));
      const link = (await fixture.host.links.list([''])).find(({ name }) => name === bound.link?.name);
      assert.equal(link?.device, bound.pciAddress);
      assert.equal((await find(fixture, { pf, index: 1 })).driver, null);

      assertApplied(await set(fixture, [{ ...vf, set: { mac: MAC(9) } }]), 1);
      await assertKnobs(fixture, vf, { mac: MAC(9) });
      assert.equal((await find(fixture, vf)).linkMac, MAC(0));
      assertApplied(await unbind(fixture, [vf, { pf, index: 1 }, vf]), 3);
      const free = await find(fixture, vf);
      assert.deepEqual([free.driver, free.link, free.linkMac, free.mac], [null, null, null, MAC(9)]);
      assert.equal(await fixture.readBack.link(bound.link), null);
      assertApplied(await bind(fixture, [vf]), 1);
      assert.equal((await find(fixture, vf)).linkMac, MAC(9));
    },
  },
  {
    name: 'a VF’s link goes into a namespace and back, down and without addresses; then all VFs can be taken away, wherever they are',
    async run(fixture) {
      const { readBack } = fixture;
      const [pf] = pfsOf(fixture);
      const vf = { pf, index: 0 };
      assertApplied(await enable(fixture, [{ pf, count: 2 }]), 1);
      await makeNamespaces(fixture, ['web']);
      assertApplied(await bind(fixture, [vf]), 1);
      const home = await linkOf(fixture, vf);
      await setLinks(fixture, [change('', home.name, { up: true, alias: 'contract vf' })]);
      await addEntries(fixture, [address('', home.name, '10.9.0.1/24')]);
      const away = { ...home, to: { namespace: 'web', name: 'vf0' } };
      assertApplied(await move(fixture, [away, away]), 2);
      const there = await readBack.link(away.to);
      assert.deepEqual({ up: there?.up, alias: there?.alias }, { up: false, alias: 'contract vf' });
      assert.equal(await readBack.link(home), null);
      assert.deepEqual(await readBack.routing('web'), []);
      // Bound, and yet nowhere that is looked into.
      assert.equal((await find(fixture, vf)).link, null);
      assert.equal((await find(fixture, vf)).driver, 'igbvf');
      const found = await find(fixture, vf, ['web', 'nowhere']);
      assert.deepEqual(found.link, away.to);
      assert.equal(found.linkMac, there?.mac);
      assertApplied(await move(fixture, [{ ...away.to, to: home }]), 1);
      assert.equal((await readBack.link(home))?.alias, 'contract vf');
      assertApplied(await move(fixture, [away]), 1);
      assertApplied(await enable(fixture, [{ pf, count: 0 }]), 1);
      assert.equal(await readBack.link(away.to), null);
      assert.deepEqual((await list(fixture, ['web'])).virtual, []);
    },
  },
  {
    name: 'a namespace that goes gives its VF back by the name it had there; while somebody lives in it, its link is nowhere',
    async run(fixture) {
      const { host, settle, waitUntil } = fixture;
      const [pf] = pfsOf(fixture);
      const [one, two] = [0, 1].map((index) => ({ pf, index })) as [VfName, VfName];
      assertApplied(await enable(fixture, [{ pf, count: 2 }]), 1);
      await makeNamespaces(fixture, ['web', 'held']);
      assertApplied(await bind(fixture, [one, two]), 2);
      const moves = [
        { ...(await linkOf(fixture, one)), to: { namespace: 'web', name: 'fromweb' } },
        { ...(await linkOf(fixture, two)), to: { namespace: 'held', name: 'fromheld' } },
      ];
      assertApplied(await move(fixture, moves), 2);
      await makeCgroups(fixture, ['pen', 'pen/squatter']);
      assertApplied(
        await settle(() =>
          host.containers.start([
            { name: 'squatter', cgroup: 'pen/squatter', namespace: 'held', workload: constant(4) },
          ]),
        ),
        1,
      );
      assertApplied(await settle(() => host.namespaces.remove(['web', 'held'])), 2);
      const isBack = async (vf: VfName, name: string): Promise<boolean> =>
        (await host.virtualFunctions.list(['web', 'held'])).virtual.some(
          ({ pf: of, index, link }) =>
            of === vf.pf && index === vf.index && link?.namespace === '' && link.name === name,
        );
      await waitUntil(() => isBack(one, 'fromweb'), 'the VF of web to come home');
      const held = await find(fixture, two, ['web', 'held']);
      assert.deepEqual([held.driver, held.link, held.linkMac], ['igbvf', null, null]);
      assertApplied(await settle(() => host.containers.stop(['squatter'])), 1);
      await waitUntil(() => isBack(two, 'fromheld'), 'the VF of held to come home');
    },
  },
  {
    name: 'seven VFs go to seven namespaces, and reach each other, and those of another card on the wire; other VLANs do not',
    async run(fixture) {
      const [pf, other] = pfsOf(fixture);
      const vfs = [...allVfs(pf).slice(0, 6), { pf: other, index: 0 }];
      const namespaces = vfs.map((_, index) => `c${index}`);
      assertApplied(
        await enable(fixture, [
          { pf, count: 7 },
          { pf: other, count: 1 },
        ]),
        2,
      );
      await hand(fixture, vfs, namespaces);
      const found = await list(fixture, namespaces);
      assert.deepEqual(
        found.virtual.filter(({ driver }) => driver !== null).map(({ link, linkMac }) => ({ link, linkMac })),
        namespaces.map((namespace, index) => ({ link: { namespace, name: 'vf0' }, linkMac: MAC(index) })),
      );
      const toAll = (from: string) => namespaces.map((_, index) => icmp(from, `10.9.0.${index + 1}`));
      assertAnswered(
        await probe(fixture, [], toAll('c0')),
        namespaces.map(() => 'kernel'),
      );
      // VFs 0 and 1 in one VLAN, the rest in none.
      assertApplied(
        await set(
          fixture,
          [0, 1].map((index) => ({ pf, index, set: { vlan: 7 } })),
        ),
        2,
      );
      assertAnswered(
        await probe(fixture, [], toAll('c0')),
        namespaces.map((_, index) => (index < 2 ? 'kernel' : null)),
      );
      assertAnswered(
        await probe(fixture, [], toAll('c2')),
        namespaces.map((_, index) => (index < 2 ? null : 'kernel')),
      );
    },
  },
];
