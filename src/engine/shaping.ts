import { checkEgress } from '../egress/check.ts';
import { EgressError } from '../egress/desired.ts';
import {
  type EgressPicture,
  egressOf,
  type EntryPort,
  MARKS,
  markKey,
  NO_EGRESS,
  type ShapedContainer,
  type ShapingFunction,
  type ShapingState,
} from '../egress/picture.ts';
import type { Host } from '../host/host.ts';
import type { LinkName } from '../host/links.ts';
import { refusalOf, vfDriverOf } from '../host/vf-drivers.ts';
import { type PhysicalFunction, vfKey } from '../host/virtual-functions.ts';
import { isByVf, type NetworkSpec } from '../network/desired.ts';
import { holderOf, type VfRecord } from '../network/functions.ts';
import type { HostNetworks } from '../network/host-network.ts';
import { isOurs, portName } from '../network/names.ts';
import type { NetworkObserved } from '../network/observe.ts';
import type { Endpoint } from '../network/picture.ts';
import type { PlacedContainer } from '../network/resolve.ts';
import type { VfRates } from '../network/sriov.ts';
import { type Asked, attachedOf } from './asked.ts';
import type { DesiredEndpoint } from './desired.ts';

const NOTHING_SHAPED: ShapingState = { objects: [], foreign: [], fairQueues: false };

/** Reads what shapes a host's links; nothing is read where nothing is asked and nobody shapes. */
export async function observeShaping(
  host: Host,
  asked: Asked | undefined,
  { links }: NetworkObserved,
): Promise<ShapingState> {
  const isAsked = asked !== undefined && shapedOnesOf(asked).length > 0;
  // Its root qdisc is told with a link: only those with ours, or where ours is to come, are asked further.
  const looked = links.filter(
    (link) => link.qdisc === 'htb' || (isAsked && link.namespace === '' && link.type !== 'loopback' && !isOurs(link)),
  );
  if (looked.length === 0) return NOTHING_SHAPED;
  const state = await host.shaper.list(looked.map(({ namespace, name }) => ({ namespace, name })));
  return { ...state, fairQueues: await host.shaper.hasFairQueues() };
}

const shapedOnesOf = (asked: Asked): readonly DesiredEndpoint[] =>
  attachedOf(asked).filter(({ egress }) => egress !== undefined);

/**
 * What the host's shaping should look like. Where the uplink cannot be shaped, because it is not known or somebody else has laid
 * a qdisc on it, what is there of ours stays: `checkShaping` says why.
 */
export function shapingOf(
  asked: Asked,
  networks: HostNetworks,
  network: NetworkObserved,
  shaper: ShapingState,
): EgressPicture {
  const containers = shapedOf(asked, networks, network);
  if (containers.length === 0) return NO_EGRESS;
  const uplink = networks.uplink?.link ?? null;
  const isTaken = shaper.foreign.some(({ namespace, name }) => namespace === '' && name === uplink);
  const { elements } = network.firewall;
  const picture = (on: string | null): EgressPicture =>
    egressOf(containers, on, asked.desired?.egress ?? {}, elements, shaper);
  if (uplink !== null && !isTaken) return picture(uplink);
  const keys = new Set(containers.flatMap(({ ports }) => ports.map(markKey)));
  return {
    objects: [...shaper.objects.filter(({ namespace }) => namespace === ''), ...picture(null).objects],
    marks: elements.filter(({ set, key }) => set === MARKS && keys.has(key)),
  };
}

/** Can what is asked be kept on this host? Returns what is doubtful. @throws EgressError */
export function checkShaping(
  asked: Asked,
  networks: HostNetworks,
  network: NetworkObserved,
  shaper: ShapingState,
): string[] {
  checkUnattached(asked);
  return checkEgress(
    shapedOf(asked, networks, network),
    networks.uplink?.link ?? null,
    asked.desired?.egress ?? {},
    shaper.foreign,
  );
}

/** Nobody is shaped who has no network of his own. @throws EgressError */
export function checkUnattached(asked: Asked): void {
  const unattached = attachedOf(asked).find(
    ({ egress, attachments = [] }) => egress !== undefined && attachments.length === 0,
  );
  if (unattached !== undefined)
    throw new EgressError(
      unattached.name,
      'it has no network of its own, so its packets are the host’s: attach it to one first',
    );
}

/** What a VF is told to keep by itself: the ceiling and guarantee of its container, where its driver knows how. */
export function withVfRates(
  containers: readonly DesiredEndpoint[],
  specs: readonly NetworkSpec[],
  { held, found }: { readonly held: Asked['held']; readonly found: NetworkObserved['functions'] },
): readonly PlacedContainer[] {
  const byVf = new Set(specs.filter(isByVf).map(({ name }) => name));
  const pfs = new Map(held.vfs.map((record) => [holderOf(record), record.pf]));
  const drivers = new Map(found.physical.map(({ pf, driver }) => [pf, driver]));
  return containers.map((container): PlacedContainer => {
    const { name, egress, attachments = [] } = container;
    if (egress === undefined) return container;
    const vfRates = attachments.flatMap(({ network }) => {
      const driver = drivers.get(pfs.get(holderOf({ container: name, network })) ?? '');
      return byVf.has(network) && driver !== undefined ? [[network, ratesOf(driver, egress)] as const] : [];
    });
    return vfRates.length === 0 ? container : { ...container, vfRates: new Map(vfRates) };
  });
}

type Egress = NonNullable<DesiredEndpoint['egress']>;

const ratesOf = (driver: string, { guaranteeBitsPerSec, ceilingBitsPerSec }: Egress): Partial<VfRates> => ({
  ...(ceilingBitsPerSec !== undefined &&
    keeps(driver, 'maxRateBitsPerSec', ceilingBitsPerSec) && { maxRateBitsPerSec: ceilingBitsPerSec }),
  ...(guaranteeBitsPerSec !== undefined &&
    keeps(driver, 'minRateBitsPerSec', guaranteeBitsPerSec) && { minRateBitsPerSec: guaranteeBitsPerSec }),
});

/** A driver that nobody knows might take a rate and do nothing. */
const keeps = (driver: string, knob: keyof VfRates, rate: number): boolean =>
  vfDriverOf(driver) !== undefined && refusalOf(driver, knob, rate) === null;

/** Containers with something asked, and their ways out. */
function shapedOf(
  asked: Asked,
  { endpoints, networks, held }: HostNetworks,
  { functions }: NetworkObserved,
): ShapedContainer[] {
  const specs = new Map(networks.map(({ spec }) => [spec.name, spec]));
  const byContainer = Map.groupBy(endpoints, ({ container }) => container);
  const records = new Map(held.vfs.map((record) => [holderOf(record), record]));
  const pfs = new Map(functions.physical.map((each) => [each.pf, each]));
  return shapedOnesOf(asked).flatMap(({ name, egress }): ShapedContainer[] => {
    const own = byContainer.get(name);
    if (egress === undefined || own === undefined) return [];
    const ports: EntryPort[] = [];
    const within: LinkName[] = [];
    const vfs: ShapingFunction[] = [];
    for (const endpoint of own) {
      const spec = specs.get(endpoint.network)!;
      const record = records.get(holderOf(endpoint));
      if (isByVf(spec)) {
        const pf = record && pfs.get(record.pf);
        vfs.push(functionOf(record, pf, egress));
        if (egress.ceilingBitsPerSec !== undefined && !keepsCeiling(pf, egress)) within.push(linkOf(endpoint));
        continue;
      }
      if (spec.by === 'macvlan' || egress.everywhere === true) within.push(linkOf(endpoint));
      if (spec.by === 'macvlan') continue;
      const family = spec.kind === 'intranet' ? 'inet' : 'bridge';
      ports.push({ family, port: portName(endpoint.network, name), address: endpoint.address });
    }
    return [{ name, egress, ports, within, functions: vfs }];
  });
}

const keepsCeiling = (pf: PhysicalFunction | undefined, { ceilingBitsPerSec }: Egress): boolean =>
  pf !== undefined && ceilingBitsPerSec !== undefined && keeps(pf.driver, 'maxRateBitsPerSec', ceilingBitsPerSec);

function functionOf(
  record: VfRecord | undefined,
  pf: PhysicalFunction | undefined,
  { guaranteeBitsPerSec }: Egress,
): ShapingFunction {
  const isRefused =
    pf !== undefined &&
    guaranteeBitsPerSec !== undefined &&
    !keeps(pf.driver, 'minRateBitsPerSec', guaranteeBitsPerSec);
  return {
    name: record === undefined ? 'VF' : vfKey(record),
    card: record?.pf ?? '',
    refusal: isRefused ? `${pf.driver} cannot guarantee it` : null,
    wireBitsPerSec: pf?.speedBitsPerSec ?? null,
  };
}

const linkOf = ({ namespace, link }: Endpoint): LinkName => ({ namespace, name: link });
