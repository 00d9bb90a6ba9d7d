import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { commandOf, USUAL_LAYOUT } from '../../backends/linux/commands.ts';
import { linuxMachine } from '../../backends/linux/machine.ts';
import { runMark } from '../../backends/linux/owner.ts';
import type { Step } from '../../src/host/steps.ts';
import type { VfKnobs, VfName } from '../../src/host/virtual-functions.ts';
import { assertApplied, type ContractCase, type ContractFixture } from './contract.ts';
import { addEntries, address, bridge, change, makeLinks, makeNamespaces, setLinks, veth } from './network.ts';
import { entries, openTestHost } from './linux-host.ts';
import { assertKnobs, bind, enable, find, linkOf, list, MAC, MBIT, pfsOf } from './vf.ts';

const links = (): string[] =>
  (JSON.parse(execFileSync('ip', ['-j', 'link', 'show'], { encoding: 'utf8' })) as { ifname: string }[]).map(
    ({ ifname }) => ifname,
  );

const shell = (step: Step): string =>
  execFileSync('sh', ['-e', '-c', commandOf(step, place).join('\n')], { encoding: 'utf8' });

const place = { layout: USUAL_LAYOUT, root: 'plimsoll', entries };

const autoprobe = (pf: string): string => `/sys/class/net/${pf}/device/sriov_drivers_autoprobe`;

/** What only a real card can show. */
export const linuxFunctionsContract: readonly ContractCase[] = [
  {
    name: 'the machine tells its cards',
    async run(fixture) {
      const pfs = pfsOf(fixture);
      const { abilities } = await linuxMachine().describe();
      const told = abilities.find(({ name }) => name === 'SR-IOV');
      assert.equal(told?.present, true);
      for (const pf of pfs) assert.ok(told.detail.includes(`${pf} (igb, 0 of 7 VFs)`), told.detail);
    },
  },
  {
    name: 'VFs are made unbound and bound all the same where the card’s are given to no driver, which stays so',
    async run(fixture) {
      const [pf] = pfsOf(fixture);
      writeFileSync(autoprobe(pf), '0');
      assertApplied(await enable(fixture, [{ pf, count: 2 }]), 1);
      assert.equal(readFileSync(autoprobe(pf), 'utf8').trim(), '0');
      assertApplied(await bind(fixture, [{ pf, index: 1 }]), 1);
      assert.equal(readFileSync(autoprobe(pf), 'utf8').trim(), '0');
      assert.deepEqual(
        (await list(fixture)).virtual.map(({ driver }) => driver),
        [null, 'igbvf'],
      );
    },
  },
  {
    name: 'VFs of somebody who died before their driver was loaded are bound all the same, and no more of them than asked',
    async run(fixture) {
      const [pf] = pfsOf(fixture);
      execFileSync('modprobe', ['--remove', 'igbvf']);
      writeFileSync(autoprobe(pf), '0');
      writeFileSync(`/sys/class/net/${pf}/device/sriov_numvfs`, '2');
      writeFileSync(autoprobe(pf), '1');
      assertApplied(await bind(fixture, [{ pf, index: 1 }]), 1);
      assert.equal(readFileSync(autoprobe(pf), 'utf8').trim(), '1');
      assert.deepEqual(
        (await list(fixture)).virtual.map(({ driver }) => driver),
        [null, 'igbvf'],
      );
    },
  },
  {
    name: 'a host in the machine’s own namespace leaves there what was there, and takes away what it made',
    async run(fixture) {
      const [pf] = pfsOf(fixture);
      const before = links();
      execFileSync('ip', ['link', 'add', 'theirs', 'type', 'bridge']);
      execFileSync('ip', ['address', 'add', '10.8.0.1/24', 'dev', pf]);
      const host = await openTestHost('second', 'machine');
      const second: ContractFixture = { ...fixture, host };
      try {
        await makeNamespaces(second, ['web']);
        await makeLinks(second, [veth('v0', 'web'), bridge('br0'), bridge('theirs')]);
        await setLinks(second, [change('', 'v0', { up: true, master: 'br0' })]);
        await addEntries(second, [address('', pf, '10.8.0.1/24'), address('', pf, '10.8.1.1/24')]);
      } finally {
        await host.close();
        try {
          assert.deepEqual(links().sort(), [...before, 'theirs'].sort());
          assert.deepEqual(await fixture.readBack.routing(''), [`address 10.8.0.1/24 dev ${pf}`]);
        } finally {
          execFileSync('ip', ['link', 'delete', 'theirs']);
          execFileSync('ip', ['address', 'flush', 'dev', pf]);
        }
      }
    },
  },
  {
    name: 'the commands that are printed do on a shell what the verbs do',
    async run(fixture) {
      const { readBack } = fixture;
      const [pf] = pfsOf(fixture);
      const [one, two] = [0, 1].map((index) => ({ pf, index })) as [VfName, VfName];
      shell({ verb: 'virtualFunctions.enable', with: { pf, count: 2 }, why: '' });
      const set: VfKnobs = {
        mac: MAC(1),
        vlan: 7,
        qos: 3,
        proto: '802.1Q',
        spoofCheck: false,
        trust: true,
        linkState: 'auto',
        minRateBitsPerSec: 0,
        maxRateBitsPerSec: 100 * MBIT,
      };
      // The card does not know the state of a link: it is left out.
      const { linkState: _state, ...known } = set;
      shell({ verb: 'virtualFunctions.set', with: { ...two, set: known }, why: '' });
      shell({ verb: 'virtualFunctions.set', with: { ...two, set: { qos: 5 } }, why: '' });
      shell({ verb: 'virtualFunctions.set', with: { ...one, set: { qos: 2, trust: false } }, why: '' });
      await assertKnobs(fixture, two, { ...set, qos: 5 });
      await assertKnobs(fixture, one, { vlan: 0, qos: 2, trust: false });
      assert.equal((await find(fixture, two)).driver, null);
      shell({ verb: 'virtualFunctions.bind', with: two, why: '' });
      const link = await linkOf(fixture, two);
      assert.equal((await readBack.link(link))?.mac, MAC(1));
      await makeNamespaces(fixture, ['web']);
      const path = `/run/netns/${runMark('contract')}+web`;
      shell({ verb: 'links.move', with: { ...link, to: { namespace: path, name: 'vf0' } }, why: '' });
      assert.deepEqual(await linkOf(fixture, two, ['web']), { namespace: 'web', name: 'vf0' });
      shell({
        verb: 'links.move',
        with: { namespace: path, name: 'vf0', to: { namespace: '', name: 'home' } },
        why: '',
      });
      shell({
        verb: 'links.move',
        with: { namespace: '', name: 'home', to: { namespace: '', name: 'home2' } },
        why: '',
      });
      assert.deepEqual(await linkOf(fixture, two), { namespace: '', name: 'home2' });
      shell({ verb: 'virtualFunctions.unbind', with: two, why: '' });
      assert.equal((await find(fixture, two)).driver, null);
      shell({ verb: 'virtualFunctions.enable', with: { pf, count: 0 }, why: '' });
      assert.deepEqual((await list(fixture)).virtual, []);
    },
  },
];
