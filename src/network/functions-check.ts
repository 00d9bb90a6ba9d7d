import { selected, whyNot } from './cards.ts';
import { isByVf, NetworkError, type NetworkSpec, type VfDemand } from './desired.ts';
import type { NetworkObserved } from './observe.ts';

/** Can any of this host's cards give what its networks ask of VFs? What a driver is known to refuse is refused here. @throws NetworkError */
export function checkFunctions(networks: readonly NetworkSpec[], observed: NetworkObserved): void {
  for (const spec of networks) {
    if (!isByVf(spec) || spec.vf === undefined) continue;
    const pfs = selected(spec.vf, observed.functions);
    if (pfs.length === 0) throw noneOf(spec.name, spec.vf, observed);
    const { vf } = spec;
    const refusals = pfs.map((pf) => whyNot(vf, pf, observed));
    if (refusals.every((refusal) => refusal !== null))
      throw new NetworkError(`network ${spec.name}`, refusals.join('; '));
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
