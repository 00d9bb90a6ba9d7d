import { refusalOf } from '../host/vf-drivers.ts';
import { type PhysicalFunction, type VfKnobs } from '../host/virtual-functions.ts';
import { isByVf, NetworkError, type NetworkSpec, type VfDemand } from './desired.ts';
import { selected } from './functions.ts';
import type { NetworkObserved } from './observe.ts';

/** Can this host's cards give what its networks ask of VFs? What a driver is known to refuse is refused here. @throws NetworkError */
export function checkFunctions(networks: readonly NetworkSpec[], observed: NetworkObserved): void {
  for (const spec of networks) {
    if (!isByVf(spec) || spec.vf === undefined) continue;
    const pfs = selected(spec.vf, observed.functions);
    if (pfs.length === 0) throw noneOf(spec.name, spec.vf, observed);
    for (const pf of pfs) checkCard(spec.name, spec.vf, pf, observed);
  }
}

function noneOf(network: string, { select }: VfDemand, { links, functions }: NetworkObserved): NetworkError {
  const about = `network ${network}`;
  const cards = functions.physical.map(({ pf, driver }) => `${pf} (${driver})`).join(', ') || 'none';
  if (select.pf === undefined)
    return new NetworkError(
      about,
      `no network card of this host with virtual functions is as selected: there is ${cards}`,
    );
  if (functions.physical.some(({ pf }) => pf === select.pf))
    return new NetworkError(about, `${select.pf} is not as selected: there is ${cards}`);
  const isLink = links.some(({ namespace, name }) => namespace === '' && name === select.pf);
  return new NetworkError(
    about,
    isLink
      ? `${select.pf} has no virtual functions (SR-IOV): cards with them are: ${cards}`
      : `there is no link ${select.pf}: cards with virtual functions are: ${cards}`,
  );
}

function checkCard(network: string, demand: VfDemand, card: PhysicalFunction, observed: NetworkObserved): void {
  const { pf, driver, vfCount, totalVfs, speedBitsPerSec } = card;
  const { count, knobs, takeDownLink } = demand;
  const refuse = (message: string): never => {
    throw new NetworkError(`network ${network}`, message);
  };
  for (const [knob, value] of Object.entries(knobs) as [keyof VfKnobs, never][]) {
    const refusal = refusalOf(driver, knob, value);
    if (refusal !== null) refuse(`${pf}: ${refusal.detail}`);
  }
  const rate = Math.max(knobs.maxRateBitsPerSec ?? 0, knobs.minRateBitsPerSec ?? 0);
  if (speedBitsPerSec !== null && rate > speedBitsPerSec)
    refuse(`${rate / 1e6} Mbit/s is above what ${pf} carries, ${speedBitsPerSec / 1e6} Mbit/s`);
  if ((knobs.minRateBitsPerSec ?? 0) > (knobs.maxRateBitsPerSec || Infinity))
    refuse('its least rate is above its greatest: raise the one or lower the other');
  if (count === undefined) return;
  if (!Number.isInteger(count) || count < 1) refuse(`count ${count} is not a whole number from 1 on`);
  if (count > totalVfs) refuse(`${pf} can have ${totalVfs} VFs, not ${count}`);
  if (vfCount >= count) return;
  if (vfCount > 0)
    refuse(
      `${pf} has ${vfCount} VFs, and to have ${count} it would have to lose these first: echo 0 > /sys/class/net/${pf}/device/sriov_numvfs`,
    );
  const use = useOf(pf, observed);
  if (use !== null && takeDownLink !== true)
    refuse(
      `making VFs drops the link of ${pf} for seconds, and ${use}: choose another card, or allow it (takeDownLink, --take-down-link)`,
    );
}

/** What would suffer if this link were gone for seconds; null: nothing of the host's. */
function useOf(pf: string, { entries, links }: NetworkObserved): string | null {
  const here = entries.filter((entry) => entry.kind !== 'rule' && entry.namespace === '' && entry.link === pf);
  if (here.some((entry) => entry.kind === 'route' && entry.to === '0.0.0.0/0')) return 'the default route goes by it';
  const address = here.find((entry) => entry.kind === 'address');
  if (address?.kind === 'address') return `it has the address ${address.prefix}`;
  const master = links.find(({ namespace, name }) => namespace === '' && name === pf)?.master;
  return master == null ? null : `it is a port of ${master}`;
}
