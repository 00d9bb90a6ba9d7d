// What the bodies of virtual functions have in common.
import assert from 'node:assert/strict';
import type { LinkMove, LinkName } from '../../src/host/links.ts';
import type {
  FoundFunctions,
  VfChange,
  VfCount,
  VfKnobs,
  VfName,
  VirtualFunction,
} from '../../src/host/virtual-functions.ts';
import { assertApplied, type ContractFixture } from './contract.ts';
import { addEntries, address, change, makeNamespaces, setLinks } from './network.ts';

export const enable = ({ host, settle }: ContractFixture, counts: readonly VfCount[]) =>
  settle(() => host.virtualFunctions.enable(counts));
export const set = ({ host, settle }: ContractFixture, changes: readonly VfChange[]) =>
  settle(() => host.virtualFunctions.set(changes));
export const bind = ({ host, settle }: ContractFixture, names: readonly VfName[]) =>
  settle(() => host.virtualFunctions.bind(names));
export const unbind = ({ host, settle }: ContractFixture, names: readonly VfName[]) =>
  settle(() => host.virtualFunctions.unbind(names));
export const move = ({ host, settle }: ContractFixture, moves: readonly LinkMove[]) =>
  settle(() => host.links.move(moves));
export const list = ({ host, settle }: ContractFixture, namespaces: readonly string[] = []): Promise<FoundFunctions> =>
  settle(() => host.virtualFunctions.list(namespaces));

export const MAC = (index: number): string => `02:70:6c:00:01:0${index}`;
export const MBIT = 1_000_000;

export function pfsOf({ pfs }: ContractFixture): readonly [string, string] {
  assert.ok(pfs, 'this body needs PFs');
  return pfs;
}

/** One VF as it is listed. */
export async function find(
  fixture: ContractFixture,
  { pf, index }: VfName,
  namespaces: readonly string[] = [],
): Promise<VirtualFunction> {
  const found = (await list(fixture, namespaces)).virtual.find((each) => each.pf === pf && each.index === index);
  assert.ok(found, `no ${pf} vf ${index}`);
  return found;
}

/** Where its link is. */
export async function linkOf(
  fixture: ContractFixture,
  name: VfName,
  namespaces: readonly string[] = [],
): Promise<LinkName> {
  const { link } = await find(fixture, name, namespaces);
  assert.ok(link, `${name.pf} vf ${name.index} has no link`);
  return link;
}

const knobsOf = ({
  mac,
  vlan,
  qos,
  proto,
  spoofCheck,
  trust,
  linkState,
  minRateBitsPerSec,
  maxRateBitsPerSec,
}: VfKnobs): VfKnobs => ({
  mac,
  vlan,
  qos,
  proto,
  spoofCheck,
  trust,
  linkState,
  minRateBitsPerSec,
  maxRateBitsPerSec,
});

/** List and the other tool agree on this. */
export async function assertKnobs(fixture: ContractFixture, name: VfName, expected: Partial<VfKnobs>): Promise<void> {
  const read = await fixture.readBack.vf(name);
  assert.ok(read, `no ${name.pf} vf ${name.index}`);
  assert.deepEqual({ ...read, ...expected }, read);
  assert.deepEqual(knobsOf(await find(fixture, name)), read);
}

/** VFs with MACs, each with its link, `vf0`, in the namespace at its place, up and with an address. */
export async function hand(
  fixture: ContractFixture,
  vfs: readonly VfName[],
  namespaces: readonly string[],
): Promise<void> {
  await makeNamespaces(fixture, namespaces);
  assertApplied(
    await set(
      fixture,
      vfs.map((vf, index) => ({ ...vf, set: { mac: MAC(index) } })),
    ),
    vfs.length,
  );
  assertApplied(await bind(fixture, vfs), vfs.length);
  const { virtual } = await list(fixture);
  const moves = vfs.map(({ pf, index }, at): LinkMove => {
    const link = virtual.find((each) => each.pf === pf && each.index === index)?.link;
    assert.ok(link, `${pf} vf ${index} has no link`);
    return { ...link, to: { namespace: namespaces[at]!, name: 'vf0' } };
  });
  assertApplied(await move(fixture, moves), moves.length);
  await setLinks(
    fixture,
    namespaces.map((namespace) => change(namespace, 'vf0', { up: true })),
  );
  await addEntries(
    fixture,
    namespaces.map((namespace, index) => address(namespace, 'vf0', `10.9.0.${index + 1}/24`)),
  );
  const linkUp = async (namespace: string): Promise<boolean> =>
    (await fixture.host.links.list([namespace])).some(({ name, carrier }) => name === 'vf0' && carrier);
  for (const namespace of namespaces)
    await fixture.waitUntil(() => linkUp(namespace), `the carrier of the VF in ${namespace}`);
}

export const allVfs = (pf: string): VfName[] => Array.from({ length: 7 }, (_, index) => ({ pf, index }));
