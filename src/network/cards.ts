import { refusalOf } from '../host/vf-drivers.ts';
import type { FoundFunctions, PhysicalFunction, VfKnobs } from '../host/virtual-functions.ts';
import type { VfDemand } from './desired.ts';
import type { NetworkObserved } from './observe.ts';

/** PFs that are as demanded, in order of name. */
export const selected = ({ select }: VfDemand, { physical }: FoundFunctions): PhysicalFunction[] =>
  physical.filter(
    ({ pf, driver, vendor }) =>
      (select.pf ?? pf) === pf && (select.driver ?? driver) === driver && (select.vendor ?? vendor) === vendor,
  );

/** Why this card cannot give what is demanded; null: it can, as far as is known. */
export function whyNot(demand: VfDemand, card: PhysicalFunction, observed: NetworkObserved): string | null {
  const { pf, driver, vfCount, totalVfs, speedBitsPerSec } = card;
  const { count, knobs, takeDownLink } = demand;
  for (const [knob, value] of Object.entries(knobs) as [keyof VfKnobs, never][]) {
    const refusal = refusalOf(driver, knob, value);
    if (refusal !== null) return `${pf}: ${refusal.detail}`;
  }
  const rate = Math.max(knobs.maxRateBitsPerSec ?? 0, knobs.minRateBitsPerSec ?? 0);
  if (speedBitsPerSec !== null && rate > speedBitsPerSec)
    return `${rate / 1e6} Mbit/s is above what ${pf} carries, ${speedBitsPerSec / 1e6} Mbit/s`;
  if ((knobs.minRateBitsPerSec ?? 0) > (knobs.maxRateBitsPerSec || Infinity))
    return 'its least rate is above its greatest: raise the one or lower the other';
  if (count === undefined) return null;
  if (!Number.isInteger(count) || count < 1) return `count ${count} is not a whole number from 1 on`;
  if (count > totalVfs) return `${pf} can have ${totalVfs} VFs, not ${count}`;
  if (vfCount >= count) return null;
  if (vfCount > 0)
    return `${pf} has ${vfCount} VFs, and to have ${count} it would have to lose these first: echo 0 > /sys/class/net/${pf}/device/sriov_numvfs`;
  const use = useOf(pf, observed);
  return use === null || takeDownLink === true
    ? null
    : `making VFs drops the link of ${pf} for seconds, and ${use}: choose another card, or allow it (takeDownLink, --take-down-link)`;
}

/** What would suffer if this link were gone for seconds; null: nothing of the host's. */
export function useOf(pf: string, { entries, links }: NetworkObserved): string | null {
  const own = links.filter(({ namespace }) => namespace === '');
  const names = new Set([pf]);
  // What stands on it is gone with it: a VLAN, a macvlan, and what stands on these.
  for (let size = 0; size < names.size;) {
    size = names.size;
    for (const { name, lower } of own) if (lower !== undefined && names.has(lower)) names.add(name);
  }
  for (const name of names) {
    const by = name === pf ? 'it' : `${name}, which stands on it,`;
    const here = entries.filter((entry) => entry.kind !== 'rule' && entry.namespace === '' && entry.link === name);
    if (here.some((entry) => entry.kind === 'route' && entry.to === '0.0.0.0/0'))
      return `the default route goes by ${name === pf ? 'it' : name}`;
    const address = here.find((entry) => entry.kind === 'address');
    if (address?.kind === 'address') return `${by} has the address ${address.prefix}`;
    const master = own.find((link) => link.name === name)?.master;
    if (master != null) return `${by} is a port of ${master}`;
  }
  return null;
}
