import assert from 'node:assert/strict';
import type { VfKnobs } from '../../src/host/virtual-functions.ts';
import { assertApplied, assertRefused, type ContractCase } from './contract.ts';
import { bridge, change, makeLinks, setLinks } from './network.ts';
import { allVfs, assertKnobs, bind, enable, list, MAC, MBIT, pfsOf, set, unbind } from './vf.ts';

/** What `VirtualFunctions` promises of cards and knobs. */
export const virtualFunctionsContract: readonly ContractCase[] = [
  {
    name: 'whether new VFs get their driver at once is told, and put without a change of their number',
    async run(fixture) {
      const [pf] = pfsOf(fixture);
      const told = async (): Promise<boolean | undefined> =>
        (await list(fixture, [])).physical.find((card) => card.pf === pf)?.autoprobe;
      for (const autoprobe of [false, true]) {
        const { host, settle } = fixture;
        assertApplied(await settle(() => host.virtualFunctions.enable([{ pf, count: 0, autoprobe }])), 1);
        assert.equal(await told(), autoprobe);
      }
    },
  },
  {
    name: 'list finds the cards and what they can have; a link tells its card’s address',
    async run(fixture) {
      const pfs = pfsOf(fixture);
      const { physical, virtual } = await list(fixture, ['nowhere']);
      assert.deepEqual(virtual, []);
      assert.deepEqual(
        physical.map(({ pciAddress, ...rest }) => ({
          ...rest,
          hasAddress: /^[0-9a-f]{4}:[0-9a-f]{2}:/.test(pciAddress),
        })),
        pfs.map((pf) => ({
          pf,
          driver: 'igb',
          vendor: '0x8086',
          totalVfs: 7,
          vfCount: 0,
          autoprobe: true,
          carrier: true,
          speedBitsPerSec: 1000 * MBIT,
          hasAddress: true,
        })),
      );
      const links = await fixture.host.links.list(['']);
      assert.deepEqual(
        pfs.map((pf) => links.find(({ name }) => name === pf)?.device),
        physical.map(({ pciAddress }) => pciAddress),
      );
      assert.equal(links.find(({ name }) => name === 'lo')?.device, undefined);
    },
  },
  {
    name: 'enable makes VFs without a driver, once, and waits for the link; more than there can be: ERANGE; another number: EBUSY',
    async run(fixture) {
      const [first, second] = pfsOf(fixture);
      await makeLinks(fixture, [bridge('br0')]);
      // A PF that is down has no link to wait for.
      await setLinks(fixture, [change('', second, { up: false })]);
      const refused = { operation: 'virtualFunctions.enable', applied: 1 } as const;
      assertRefused(
        await enable(fixture, [
          { pf: first, count: 7 },
          { pf: second, count: 8 },
          { pf: second, count: 1 },
        ]),
        { ...refused, code: 'ERANGE', target: second },
      );
      const { physical, virtual } = await list(fixture);
      assert.deepEqual(
        physical.map(({ vfCount, carrier }) => ({ vfCount, carrier })),
        [
          { vfCount: 7, carrier: true },
          { vfCount: 0, carrier: false },
        ],
      );
      assert.equal(physical[1]!.speedBitsPerSec, null);
      assert.deepEqual(
        virtual.map(({ pf, index, driver, link, linkMac }) => ({ pf, index, driver, link, linkMac })),
        allVfs(first).map((vf) => ({ ...vf, driver: null, link: null, linkMac: null })),
      );
      assert.equal(new Set(virtual.map(({ pciAddress }) => pciAddress)).size, 7);

      const seven = { pf: first, count: 7 };
      assertRefused(await enable(fixture, [seven, { pf: first, count: 3 }]), {
        ...refused,
        code: 'EBUSY',
        target: first,
      });
      assertRefused(await enable(fixture, [seven, { pf: 'nosuch', count: 1 }]), {
        ...refused,
        code: 'ENODEV',
        target: 'nosuch',
      });
      assertRefused(await enable(fixture, [seven, { pf: 'br0', count: 1 }]), {
        ...refused,
        code: 'EOPNOTSUPP',
        target: 'br0',
      });
      assertApplied(
        await enable(fixture, [
          { pf: second, count: 1 },
          { pf: first, count: 0 },
        ]),
        2,
      );
      assert.deepEqual(
        (await list(fixture)).virtual.map(({ pf, index }) => ({ pf, index })),
        [{ pf: second, index: 0 }],
      );
      assert.equal(await fixture.readBack.vf({ pf: first, index: 0 }), null);
    },
  },
  {
    name: 'set turns the knobs of a VF, all in one go; those left out stay; a card down takes no rates: ENETDOWN',
    async run(fixture) {
      const [pf, second] = pfsOf(fixture);
      assertApplied(await enable(fixture, [{ pf, count: 2 }]), 1);
      const vf = { pf, index: 1 };
      const fresh: VfKnobs = {
        mac: '00:00:00:00:00:00',
        vlan: 0,
        qos: 0,
        proto: '802.1Q',
        spoofCheck: true,
        trust: false,
        linkState: 'auto',
        minRateBitsPerSec: 0,
        maxRateBitsPerSec: 0,
      };
      await assertKnobs(fixture, vf, fresh);
      const turned: VfKnobs = {
        ...fresh,
        mac: MAC(1),
        vlan: 4095,
        qos: 7,
        spoofCheck: false,
        trust: true,
        maxRateBitsPerSec: 1000 * MBIT,
      };
      // What the card does not know, but is so, is no reason to refuse.
      assertApplied(await set(fixture, [{ ...vf, set: turned }]), 1);
      await assertKnobs(fixture, vf, turned);
      assertApplied(await set(fixture, [{ ...vf, set: { qos: 3, maxRateBitsPerSec: 250 * MBIT } }]), 1);
      await assertKnobs(fixture, vf, { ...turned, qos: 3, maxRateBitsPerSec: 250 * MBIT });
      await assertKnobs(fixture, { pf, index: 0 }, fresh);
      assertApplied(await set(fixture, [{ ...vf, set: fresh }]), 1);
      await assertKnobs(fixture, vf, fresh);

      await setLinks(fixture, [change('', pf, { up: false })]);
      assertRefused(
        await set(fixture, [
          { pf, index: 0, set: { vlan: 7 } },
          { ...vf, set: { vlan: 8, maxRateBitsPerSec: 100 * MBIT } },
        ]),
        { applied: 1, code: 'ENETDOWN', operation: 'virtualFunctions.set', target: `${pf} vf 1` },
      );
      await assertKnobs(fixture, { pf, index: 0 }, { ...fresh, vlan: 7 });
      await assertKnobs(fixture, vf, fresh);
      await setLinks(fixture, [change('', pf, { up: true })]);
      // Waits until the link, which was only just told to come up, is there.
      assertApplied(
        await set(fixture, [
          { ...vf, set: { maxRateBitsPerSec: 100 * MBIT } },
          { pf, index: 0, set: { maxRateBitsPerSec: 200 * MBIT } },
        ]),
        2,
      );
      await assertKnobs(fixture, vf, { ...fresh, maxRateBitsPerSec: 100 * MBIT });
      assertRefused(await set(fixture, [{ pf: second, index: 0, set: { vlan: 1 } }]), {
        applied: 0,
        code: 'EINVAL',
        operation: 'virtualFunctions.set',
        target: `${second} vf 0`,
      });
    },
  },
  {
    name: 'set refuses what cannot be, and what the driver does not take by its name; nothing of that VF is turned',
    async run(fixture) {
      const [pf] = pfsOf(fixture);
      assertApplied(await enable(fixture, [{ pf, count: 3 }]), 1);
      const vf = { pf, index: 1 };
      const before = await fixture.readBack.vf(vf);
      assert.ok(before);
      const refusals: readonly [Partial<VfKnobs>, 'EINVAL' | 'EOPNOTSUPP', string][] = [
        [{ vlan: 4096 }, 'EINVAL', 'vlan'],
        [{ vlan: -1 }, 'EINVAL', 'vlan'],
        [{ vlan: 5, qos: 8 }, 'EINVAL', 'qos'],
        [{ mac: '03:70:6c:00:00:01' }, 'EINVAL', 'mac'],
        [{ mac: '02:70:6c' }, 'EINVAL', 'mac'],
        [{ maxRateBitsPerSec: 1500 }, 'EINVAL', 'max_tx_rate'],
        [{ maxRateBitsPerSec: 1001 * MBIT }, 'EINVAL', 'max_tx_rate'],
        [{ minRateBitsPerSec: 20 * MBIT, maxRateBitsPerSec: 10 * MBIT }, 'EINVAL', 'min_tx_rate'],
        [{ minRateBitsPerSec: 10 * MBIT }, 'EOPNOTSUPP', 'min_tx_rate: the driver igb'],
        [{ linkState: 'enable' }, 'EOPNOTSUPP', 'state: the driver igb'],
        [{ vlan: 5, proto: '802.1ad' }, 'EOPNOTSUPP', 'proto: the driver igb'],
      ];
      for (const [refused, code, words] of refusals) {
        // Beside others, which it would take.
        const result = await set(fixture, [
          { pf, index: 0, set: { vlan: 9 } },
          { ...vf, set: { mac: MAC(5), vlan: 5, spoofCheck: false, maxRateBitsPerSec: 50 * MBIT, ...refused } },
          { pf, index: 2, set: { vlan: 9 } },
        ]);
        assertRefused(result, { applied: 1, code, operation: 'virtualFunctions.set', target: `${pf} vf 1` });
        assert.ok(result.error?.message.includes(words), `${result.error?.message} does not name ${words}`);
        await assertKnobs(fixture, vf, before);
      }
      await assertKnobs(fixture, { pf, index: 0 }, { vlan: 9 });
      await assertKnobs(fixture, { pf, index: 2 }, { vlan: 0 });
      for (const [name, code] of [
        [{ pf, index: 3 }, 'EINVAL'],
        [{ pf: 'nosuch', index: 0 }, 'ENODEV'],
        [{ pf: 'lo', index: 0 }, 'ENODEV'],
      ] as const) {
        const target = `${name.pf} vf ${name.index}`;
        const expected = { applied: 0, code, target };
        assertRefused(await set(fixture, [{ ...name, set: { vlan: 1 } }]), {
          ...expected,
          operation: 'virtualFunctions.set',
        });
        assertRefused(await bind(fixture, [name]), { ...expected, operation: 'virtualFunctions.bind' });
        assertRefused(await unbind(fixture, [name]), { ...expected, operation: 'virtualFunctions.unbind' });
      }
    },
  },
];
