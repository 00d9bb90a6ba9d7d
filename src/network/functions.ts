import type { MacAddress } from '../host/ipv4.ts';
import type { LinkName, LinkSettings, LinkState } from '../host/links.ts';
import {
  type FoundFunctions,
  type VfCount,
  vfKey,
  type VfKnobs,
  type VfName,
  type VirtualFunction,
} from '../host/virtual-functions.ts';
import { selected, whyNot } from './cards.ts';
import { type AttachedContainer, isByVf, NetworkError, type NetworkSpec, type VfDemand } from './desired.ts';
import { isOurs } from './names.ts';
import type { NetworkObserved } from './observe.ts';

/** A VF in a container's hand. It is in the store before anything of the VF is changed, until all is as it was. */
export interface VfRecord extends VfName {
  readonly container: string;
  readonly network: string;
  /** Undefined while its PF has not been given its VFs. */
  readonly original?: OriginalVf;
}

/** What a VF was like before Plimsoll touched it. */
export interface OriginalVf {
  readonly knobs: VfKnobs;
  /** Null: it was bound to no driver. */
  readonly link: {
    readonly name: string;
    readonly mac: MacAddress;
    readonly settings: Pick<LinkSettings, 'up' | 'mtu' | 'alias'>;
  } | null;
}

/** A PF to which Plimsoll gave its VFs, and how many it had before: they are taken away with the last that is held. */
export interface PfRecord extends VfCount {
  readonly before: number;
  /** As it was, too. */
  readonly autoprobe: boolean;
  /** They may be taken away although somebody uses the link. */
  readonly takeDownLink: boolean;
}

/** What of a host's functions is in somebody's hand. */
export interface HeldFunctions {
  readonly vfs: readonly VfRecord[];
  readonly pfs: readonly PfRecord[];
}

export const NOTHING_HELD: HeldFunctions = { vfs: [], pfs: [] };

/** A container's attachment that needs a VF. */
export interface VfNeed {
  readonly container: string;
  readonly network: string;
  readonly demand: VfDemand;
}

/** What is to be written before a host's functions are changed. */
export type Taking = HeldFunctions;

/** Whose a record is, as one string. */
export const holderOf = ({ container, network }: Pick<VfRecord, 'container' | 'network'>): string =>
  `${container}\n${network}`;

/**
 * A free VF for everybody who has none: the first of the first PF that is as demanded. Also the original state of those
 * that are seen for the first time. Where none is left: `onRefusal`, or @throws NetworkError
 */
export function takeFunctions(
  needs: readonly VfNeed[],
  held: HeldFunctions,
  observed: NetworkObserved,
  onRefusal?: (error: NetworkError) => void,
): Taking {
  const { functions } = observed;
  const has = new Set(held.vfs.map(holderOf));
  const taken = new Set(held.vfs.map(vfKey));
  const counts = new Map(held.pfs.map((record) => [record.pf, record.count]));
  const found = new Map(functions.virtual.map((vf) => [vfKey(vf), vf]));
  const seenNow = held.vfs.flatMap((record): VfRecord[] => {
    const vf = found.get(vfKey(record));
    return record.original === undefined && vf !== undefined ? [{ ...record, original: originalOf(vf, observed) }] : [];
  });
  const vfs: VfRecord[] = [];
  const pfs: PfRecord[] = [];
  for (const { container, network, demand } of needs) {
    if (has.has(holderOf({ container, network }))) continue;
    const name = freeOne(demand, functions, observed, taken, counts);
    if (name === null) {
      const refusal = noneFree(container, network, demand, functions);
      if (onRefusal === undefined) throw refusal;
      onRefusal(refusal);
      continue;
    }
    taken.add(vfKey(name));
    const vf = found.get(vfKey(name));
    vfs.push({ ...name, container, network, ...(vf !== undefined && { original: originalOf(vf, observed) }) });
    if (vf === undefined && !counts.has(name.pf)) {
      counts.set(name.pf, demand.count!);
      const { autoprobe } = functions.physical.find(({ pf }) => pf === name.pf)!;
      const takeDownLink = demand.takeDownLink ?? false;
      pfs.push({ pf: name.pf, count: demand.count!, before: 0, autoprobe, takeDownLink });
    }
  }
  return { vfs: [...seenNow, ...vfs], pfs };
}

function freeOne(
  demand: VfDemand,
  functions: FoundFunctions,
  observed: NetworkObserved,
  taken: ReadonlySet<string>,
  counts: ReadonlyMap<string, number>,
): VfName | null {
  for (const card of selected(demand, functions)) {
    const { pf, vfCount } = card;
    if (whyNot(demand, card, observed) !== null) continue;
    const there = functions.virtual.filter((vf) => vf.pf === pf);
    const free = there.find((vf) => !taken.has(vfKey(vf)) && isFree(vf, observed));
    if (free !== undefined) return { pf, index: free.index };
    if (vfCount > 0) continue;
    const count = counts.get(pf) ?? demand.count ?? 0;
    for (let index = 0; index < count; index++) if (!taken.has(vfKey({ pf, index }))) return { pf, index };
  }
  return null;
}

/** One that is not back yet, in a namespace that nobody sees, is not free; neither is one that somebody uses where it is. */
function isFree({ driver, link }: VirtualFunction, { links, entries }: NetworkObserved): boolean {
  if (driver === null) return true;
  if (link === null || link.namespace !== '') return false;
  const state = links.find(({ namespace, name }) => namespace === '' && name === link.name);
  if (links.some(({ namespace, lower }) => namespace === '' && lower === link.name)) return false;
  const hasAddress = entries.some(
    (entry) => entry.kind === 'address' && entry.namespace === '' && entry.link === link.name,
  );
  return state !== undefined && state.master === null && !isOurs(state) && !hasAddress;
}

function noneFree(container: string, network: string, demand: VfDemand, functions: FoundFunctions): NetworkError {
  const pfs = selected(demand, functions).map(({ pf }) => pf);
  const there = functions.virtual.filter(({ pf }) => pfs.includes(pf)).length;
  return new NetworkError(
    container,
    there === 0 && demand.count === undefined
      ? `network ${network} has no VF: ${pfs.join(', ')} has none; say how many it is to be given, count: 4`
      : `network ${network} has no free VF: all ${Math.max(there, demand.count ?? 0)} of ${pfs.join(', ')} are in use; detach something first, and then ask again`,
  );
}

function originalOf({ link, driver, ...vf }: VirtualFunction, { links }: NetworkObserved): OriginalVf {
  const { mac, vlan, qos, proto, spoofCheck, trust, linkState, minRateBitsPerSec, maxRateBitsPerSec } = vf;
  const knobs = { mac, vlan, qos, proto, spoofCheck, trust, linkState, minRateBitsPerSec, maxRateBitsPerSec };
  const state = driver === null || link === null ? undefined : stateOf(link, links);
  return {
    knobs,
    link:
      state === undefined
        ? null
        : { name: state.name, mac: state.mac, settings: { up: state.up, mtu: state.mtu, alias: state.alias } },
  };
}

const stateOf = (link: LinkName, links: readonly LinkState[]): LinkState | undefined =>
  links.find(({ namespace, name }) => namespace === link.namespace && name === link.name);

/** What is held once that is written. */
export function heldWith({ vfs, pfs }: HeldFunctions, taking: Taking): HeldFunctions {
  const anew = new Set(taking.vfs.map(vfKey));
  return { vfs: [...vfs.filter((record) => !anew.has(vfKey(record))), ...taking.vfs], pfs: [...pfs, ...taking.pfs] };
}

/** What is held once these are forgotten. */
export function heldWithout({ vfs, pfs }: HeldFunctions, done: HeldFunctions): HeldFunctions {
  const [goneVfs, gonePfs] = [new Set(done.vfs.map(vfKey)), new Set(done.pfs.map(({ pf }) => pf))];
  return { vfs: vfs.filter((record) => !goneVfs.has(vfKey(record))), pfs: pfs.filter(({ pf }) => !gonePfs.has(pf)) };
}

/**
 * Records that nothing speaks for any more, where nothing is left to do: their VFs are as they were, and so are the PFs of the
 * last of them. A card that is not to be seen may come back: what is known of it is kept.
 */
export function doneFunctions(
  needs: readonly Omit<VfNeed, 'demand'>[],
  { vfs, pfs }: HeldFunctions,
  { physical }: FoundFunctions,
): HeldFunctions {
  const needed = new Set(needs.map(holderOf));
  const counts = new Map(physical.map(({ pf, vfCount }) => [pf, vfCount]));
  const done = vfs.filter((record) => !needed.has(holderOf(record)) && counts.has(record.pf));
  const still = new Set(vfs.filter((record) => needed.has(holderOf(record))).map(({ pf }) => pf));
  return { vfs: done, pfs: pfs.filter(({ pf, before }) => !still.has(pf) && counts.get(pf) === before) };
}

/** VFs in containers' hands that are not there any more, and that no plan brings back. */
export function lostFunctions(
  needs: readonly Omit<VfNeed, 'demand'>[],
  { vfs, pfs }: HeldFunctions,
  { physical, virtual }: FoundFunctions,
): readonly VfRecord[] {
  const needed = new Set(needs.map(holderOf));
  const there = new Set(virtual.map(vfKey));
  const cards = new Set(physical.map(({ pf }) => pf));
  const coming = new Set(pfs.map(({ pf }) => pf).filter((pf) => cards.has(pf)));
  return vfs.filter((record) => needed.has(holderOf(record)) && !there.has(vfKey(record)) && !coming.has(record.pf));
}

/** Who needs a VF. */
export function needsOf(networks: readonly NetworkSpec[], containers: readonly AttachedContainer[]): VfNeed[] {
  const demands = new Map(networks.flatMap((spec) => (isByVf(spec) && spec.vf ? [[spec.name, spec.vf] as const] : [])));
  return containers.flatMap(({ name, attachments = [] }) =>
    attachments.flatMap(({ network }) => {
      const demand = demands.get(network);
      return demand === undefined ? [] : [{ container: name, network, demand }];
    }),
  );
}

export const isNothing = ({ vfs, pfs }: HeldFunctions): boolean => vfs.length + pfs.length === 0;
