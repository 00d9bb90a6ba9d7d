import { linuxClock, monotonicMs } from '../../backends/linux/clock.ts';
import { makeOwnNamespace, ownNamespaceOf, removeNetwork } from '../../backends/linux/fabric.ts';
import { linuxLinks } from '../../backends/linux/links.ts';
import { NetworkRoot } from '../../backends/linux/netns.ts';
import { runMark } from '../../backends/linux/owner.ts';
import { linuxRouting } from '../../backends/linux/routing.ts';
import { linuxVirtualFunctions } from '../../backends/linux/virtual-functions.ts';
import { HostError } from '../../src/host/errors.ts';
import type { LinkMove, LinkName, LinkState } from '../../src/host/links.ts';
import type { RoutingEntry } from '../../src/host/routing.ts';
import type { PhysicalFunction, VfName } from '../../src/host/virtual-functions.ts';
import { useOf } from '../../src/network/cards.ts';
import { macOf } from '../../src/network/names.ts';
import type { Functions } from '../../src/report/packet-paths.ts';
import { readHypervisor } from './environment.ts';
import { insist } from './picture.ts';
import { undoAll } from './undo.ts';
import { OWN_WIRE } from './wire.ts';

const OPERATION = 'bench nic --pf';
/** Real cards negotiate with their peer for some seconds. */
const CARRIER_WITHIN_MS = 20_000;
const LOOK_MS = 20;

export interface CardOptions {
  readonly pf: string;
  /** As many VFs as that are made, where the card can. */
  readonly containers: number;
  /** May it be taken although the host itself uses it? */
  readonly takeDownLink: boolean;
}

/** A card in the hands of the bench. */
export interface Card {
  /** Its own namespace, in which the PF is the uplink. */
  readonly root: NetworkRoot;
  readonly functions: Functions;
  /** In the machine's own namespace: one for each container; none where the card has no VFs. */
  readonly vfLinks: readonly LinkName[];
  /** Moves links between the machine's own namespace and others. @throws HostError */
  move(moves: readonly LinkMove[]): Promise<void>;
  /** Puts everything back as it was. */
  close(): Promise<void>;
}

const machine = (): NetworkRoot => new NetworkRoot({ mark: runMark('nic'), own: null });

/**
 * Makes VFs, and takes the PF into a namespace of its own with an address for benchmarks: there no filter of the machine's is in
 * the way, and should this process be killed the next bench, or run, gives the link back. @throws HostError EBUSY where the host uses it
 */
export async function takeCard({ pf, containers, takeDownLink }: CardOptions): Promise<Card> {
  const own = machine();
  const [links, routing, functions] = [linuxLinks(own), linuxRouting(own), linuxVirtualFunctions(own)];
  const before = await lookAt(pf, own);
  if (before.use !== null && !takeDownLink)
    throw new HostError('EBUSY', OPERATION, pf, {
      detail: `the bench takes the link for itself, and ${before.use}: name another card, or allow it with --take-down-link`,
    });
  const mark = runMark('nic-card');
  const there = { namespace: ownNamespaceOf(mark), name: pf };
  const vfs = vfsOf(before.physical, containers);
  const undo: (() => Promise<void>)[] = [
    async () => insist(await links.set([{ namespace: '', name: pf, set: { up: before.link.up } }])),
  ];
  const close = (): Promise<void> => undoAll(undo);
  try {
    if (before.physical !== null && vfs.length > 0) {
      const { autoprobe } = before.physical;
      undo.push(
        async () => insist(await functions.enable([{ pf, count: 0, autoprobe }])),
        async () => insist(await functions.unbind(vfs)),
      );
      insist(await links.set([{ namespace: '', name: pf, set: { up: true } }]));
      insist(await functions.enable([{ pf, count: vfs.length }]));
      insist(await functions.set(vfs.map((vf) => ({ ...vf, set: { mac: macOf(`${pf} ${vf.index}`) } }))));
      insist(await functions.bind(vfs));
    }
    const { virtual } = await functions.list([]);
    const vfLinks = virtual.filter((vf) => vf.pf === pf && vf.link !== null).map(({ link }) => link!);
    if (vfLinks.length !== vfs.length)
      throw new HostError('ENODEV', OPERATION, pf, {
        detail: `of ${vfs.length} VFs ${vfLinks.length} have a link: is their driver there?`,
      });
    makeOwnNamespace(mark);
    undo.push(() => removeNetwork(mark));
    insist(await links.move([{ namespace: '', name: pf, to: there }]));
    undo.push(
      async () => {
        if (before.link.up) insist(await links.set([{ namespace: '', name: pf, set: { up: true } }]));
        insist(await routing.add(before.entries));
      },
      async () => insist(await links.move([{ ...there, to: { namespace: '', name: pf } }])),
    );
    const root = new NetworkRoot({ mark, own: there.namespace });
    const { address, bits } = OWN_WIRE.uplink;
    insist(await linuxLinks(root).set([{ namespace: '', name: pf, set: { up: true, ipv6: false, forwarding: true } }]));
    insist(await linuxRouting(root).add([{ kind: 'address', namespace: '', link: pf, prefix: `${address}/${bits}` }]));
    await untilCarrier(root, [{ namespace: '', name: pf }]);
    return {
      root,
      functions: kindOf(before.physical),
      vfLinks,
      move: async (moves) => insist(await links.move(moves)),
      close,
    };
  } catch (error) {
    // Of what fails as it is put back the first failure is the cause.
    await close().catch(() => undefined);
    throw error;
  }
}

interface Found {
  readonly link: LinkState;
  /** What hangs on its address: routes, neighbours. */
  readonly entries: readonly RoutingEntry[];
  readonly physical: PhysicalFunction | null;
  readonly use: string | null;
}

async function lookAt(pf: string, own: NetworkRoot): Promise<Found> {
  const [links, entries, functions] = await Promise.all([
    linuxLinks(own).list(['']),
    linuxRouting(own).list(['']),
    linuxVirtualFunctions(own).list([]),
  ]);
  const link = links.find(({ name }) => name === pf);
  if (link?.device === undefined)
    throw new HostError('ENODEV', OPERATION, pf, {
      detail: `there is no such card here; there is ${links.flatMap((each) => (each.device === undefined ? [] : [each.name])).join(', ') || 'none'}`,
    });
  return {
    link,
    entries: entries.filter((entry) => entry.kind !== 'rule' && entry.link === pf),
    physical: functions.physical.find((each) => each.pf === pf) ?? null,
    use: useOf(pf, { namespaces: [], links, entries, firewall: { frame: null, elements: [] }, functions }),
  };
}

/** @throws HostError EBUSY, ERANGE */
function vfsOf(physical: PhysicalFunction | null, count: number): VfName[] {
  if (physical === null) return [];
  const { pf, vfCount, totalVfs } = physical;
  if (vfCount > 0)
    throw new HostError('EBUSY', OPERATION, pf, {
      detail: `it has ${vfCount} VFs, and the bench makes its own: echo 0 > /sys/class/net/${pf}/device/sriov_numvfs`,
    });
  if (count > totalVfs)
    throw new HostError('ERANGE', OPERATION, pf, {
      detail: `it can have ${totalVfs} VFs, and ${count} containers need one each: name smaller --ratios`,
    });
  return Array.from({ length: count }, (_, index) => ({ pf, index }));
}

/** An igb in a virtual machine is QEMU's: a card to the kernel, and its speed that of an emulator (hw/net/igb.c of QEMU). */
function kindOf(physical: PhysicalFunction | null): Functions {
  if (physical === null) return 'none';
  return physical.driver === 'igb' && readHypervisor() !== null ? 'emulated' : 'real';
}

/** @throws HostError ETIMEDOUT */
export async function untilCarrier(root: NetworkRoot, wanted: readonly LinkName[]): Promise<void> {
  const links = linuxLinks(root);
  const untilMs = monotonicMs() + CARRIER_WITHIN_MS;
  for (;;) {
    const found = await links.list([...new Set(wanted.map(({ namespace }) => namespace))]);
    const without = wanted.find(
      ({ namespace, name }) =>
        !found.some((each) => each.namespace === namespace && each.name === name && each.carrier),
    );
    if (without === undefined) return;
    if (monotonicMs() > untilMs)
      throw new HostError('ETIMEDOUT', OPERATION, without.name, {
        detail: `its link did not come up in ${CARRIER_WITHIN_MS / 1000} s: is the other end of the wire up?`,
      });
    await linuxClock.sleep(LOOK_MS);
  }
}
