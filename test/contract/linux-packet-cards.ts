import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { makeOwnNamespace, ownNamespaceOf, removeNetwork } from '../../backends/linux/fabric.ts';
import { linuxLinks } from '../../backends/linux/links.ts';
import { NetworkRoot } from '../../backends/linux/netns.ts';
import { runMark } from '../../backends/linux/owner.ts';
import { linuxRouting } from '../../backends/linux/routing.ts';
import { assertApplied, type ContractCase } from './contract.ts';
import { waitUntil } from './linux.ts';

const PLIMSOLL = fileURLToPath(new URL(`../../src/cli${extname(import.meta.url)}`, import.meta.url));
/** Besides the wire that is measured, by which the two hosts speak of it. */
const OFFICE = { here: '10.9.9.1/24', there: '10.9.9.2/24', listen: '10.9.9.2:7351' };

interface Document {
  readonly environment: { readonly functions: string };
  readonly results: readonly { readonly id: string; readonly value: number }[];
}

/** `plimsoll bench nic` with the cards of the guest: one is measured, the other is another host's. */
export const packetCardsContract: readonly ContractCase[] = [
  {
    name: 'VFs of a card are measured against a sink on another host, told to be emulated, and all is given back',
    run: async () => {
      const [pf, farPf] = cards();
      await withFarHost(farPf, async (far) => {
        const sink = far.within('', () =>
          spawn(process.execPath, [PLIMSOLL, 'bench', 'nic', '--sink', '--pf', farPf, '--listen', OFFICE.listen], {
            stdio: ['ignore', 'ignore', 'pipe'],
          }),
        );
        const gone = once(sink, 'exit');
        let said = '';
        sink.stderr.on('data', (text: Buffer) => (said += text.toString()));
        try {
          await waitUntil(() => said.includes('waits at') || sink.exitCode !== null, 'the sink to wait');
          const words = ['--pf', pf, '--peer', OFFICE.listen, '--quick', '--runs', '1', '--ratios', '1', '--json'];
          const { stdout, stderr, exitCode } = await execa(process.execPath, [PLIMSOLL, 'bench', 'nic', ...words], {
            reject: false,
          });
          assert.equal(exitCode, 0, stderr);
          const { environment, results } = JSON.parse(stdout) as Document;
          assert.match(environment.functions, /^emulated: not a speed/);
          const ids = new Map(results.map(({ id, value }) => [id, value]));
          for (const path of ['vf', 'macvlan', 'nat', 'docker_nat', 'overlay'])
            assert.ok(ids.get(`nic.${path}_pps_1x64`)! > 0, `${path}: ${[...ids.keys()].join(' ')}`);
          assert.ok(ids.has('nic.emulated_vf_over_nat_pps_1x64'));
          assert.deepEqual(
            [...ids.keys()].filter((id) => id.includes('sriov')),
            [],
          );
          assert.equal(readFileSync(`/sys/class/net/${pf}/device/sriov_numvfs`, 'latin1').trim(), '0');
        } finally {
          sink.kill('SIGINT');
          await gone;
        }
        assert.deepEqual((await linuxRouting(far).list([''])).filter(({ kind }) => kind === 'address').length, 1);
      });
    },
  },
];

function cards(): readonly [string, string] {
  const names = readFileSync('/proc/net/dev', 'latin1').match(/^\s*eth\d+(?=:)/gm) ?? [];
  const [first, second] = names.map((name) => name.trim()).sort();
  assert.ok(first !== undefined && second !== undefined, 'the guest has two cards');
  return [first, second];
}

/** Another host, which has one of the cards. */
async function withFarHost(pf: string, work: (far: NetworkRoot) => Promise<void>): Promise<void> {
  const mark = runMark('nic-far');
  const own = ownNamespaceOf(mark);
  const far = new NetworkRoot({ mark, own });
  const machine = new NetworkRoot({ mark, own: null });
  const links = linuxLinks(machine);
  makeOwnNamespace(mark);
  try {
    const peer = { namespace: own, name: 'office', alias: '' };
    assertApplied(await links.create([{ namespace: '', name: 'office', alias: '', kind: { type: 'veth', peer } }]), 1);
    assertApplied(
      await links.set([
        { namespace: '', name: 'office', set: { up: true } },
        { namespace: own, name: 'office', set: { up: true } },
      ]),
      2,
    );
    assertApplied(
      await linuxRouting(machine).add([
        { kind: 'address', namespace: '', link: 'office', prefix: OFFICE.here },
        { kind: 'address', namespace: own, link: 'office', prefix: OFFICE.there },
      ]),
      2,
    );
    assertApplied(await links.move([{ namespace: '', name: pf, to: { namespace: own, name: pf } }]), 1);
    try {
      await work(far);
    } finally {
      assertApplied(await links.move([{ namespace: own, name: pf, to: { namespace: '', name: pf } }]), 1);
    }
  } finally {
    await links.remove([{ namespace: '', name: 'office' }]);
    await removeNetwork(mark);
  }
}
