import type { NamespaceName } from '../host/namespaces.ts';
import { type AttachedContainer, type NetworkDesired, type NetworkSpec, hasGateway, isByVf } from './desired.ts';
import { type HeldFunctions, holderOf } from './functions.ts';
import { type HostNetworks, NO_NETWORKS } from './host-network.ts';
import type { Endpoint, HostNetwork, Peer, Uplink } from './picture.ts';
import { leaseOf, type Shared } from './shared.ts';
import type { VfRates } from './sriov.ts';

/** A container of a host, and the namespace that somebody else made for it. */
export interface PlacedContainer extends AttachedContainer {
  readonly namespace?: NamespaceName;
  /** By network, what its VF there is to keep by itself. */
  readonly vfRates?: ReadonlyMap<string, Partial<VfRates>>;
}

/** The namespace of a container with attachments: its own by its name, unless somebody else made one. */
export const namespaceOf = ({ name, namespace }: PlacedContainer): NamespaceName => namespace ?? name;

/**
 * What is asked, with what hosts share, as this host must bring it about. A container's attachment without a lease is
 * left out, and one without the VF that it needs: nothing is on a link that is not in its hand.
 */
export function resolve(
  host: string,
  desired: NetworkDesired | undefined,
  containers: readonly PlacedContainer[],
  shared: Shared,
  uplink: Uplink | null,
  held: HeldFunctions,
): HostNetworks {
  if (desired === undefined) return { ...NO_NETWORKS, held };
  const specs = new Map(desired.networks.map((spec) => [spec.name, spec]));
  const attached = containers.filter(({ attachments = [] }) => attachments.length > 0);
  const holders = new Set(held.vfs.map(holderOf));
  const endpoints = attached
    .flatMap((container) => endpointsOf(host, container, specs, shared))
    .filter((endpoint) => !isByVf(specs.get(endpoint.network)!) || holders.has(holderOf(endpoint)));
  const used = new Set(endpoints.map(({ network }) => network));
  const peers = peersOf(host, used, shared);
  return {
    uplink,
    networks: desired.networks
      .filter(({ name }) => used.has(name))
      .map((spec): HostNetwork => {
        const vni = shared.networks.get(spec.name)?.value.vni;
        return { spec, peers: peers.get(spec.name) ?? [], ...(vni !== undefined && { vni }) };
      }),
    endpoints,
    held,
    namespaces: attached.flatMap((container) => (container.namespace === undefined ? [namespaceOf(container)] : [])),
  };
}

const hasWayOut = (spec: NetworkSpec): boolean => hasGateway(spec) || spec.gateway !== undefined;

function endpointsOf(
  host: string,
  container: PlacedContainer,
  specs: ReadonlyMap<string, NetworkSpec>,
  shared: Shared,
): Endpoint[] {
  const attachments = container.attachments ?? [];
  // The first that has a way out has the default route; an intranet address only where nothing else has one.
  const ways = attachments.map(({ network }) => specs.get(network)).filter((spec) => spec !== undefined);
  const main = ways.find(hasWayOut) ?? ways.find(({ kind }) => kind === 'intranet');
  return attachments.flatMap((attachment, index): Endpoint[] => {
    const lease = leaseOf(shared, host, container.name, attachment)?.value;
    if (lease === undefined || !specs.has(attachment.network)) return [];
    const vfRates = container.vfRates?.get(attachment.network);
    return [
      {
        container: container.name,
        namespace: namespaceOf(container),
        network: attachment.network,
        link: `eth${index}`,
        address: lease.address,
        mac: lease.mac,
        publish: attachment.publish,
        secondary: main?.name !== attachment.network,
        ...(vfRates !== undefined && { vfRates }),
      },
    ];
  });
}

/** Endpoints of these networks on other hosts, by network, in order of address as text. */
function peersOf(host: string, networks: ReadonlySet<string>, { leases }: Shared): Map<string, Peer[]> {
  const peers = new Map<string, Peer[]>();
  for (const { value } of leases.values()) {
    const { network, address, mac, tunnelAddress } = value;
    if (value.host === host || tunnelAddress === undefined || !networks.has(network)) continue;
    const list = peers.get(network) ?? [];
    list.push({ address, mac, tunnelAddress });
    peers.set(network, list);
  }
  return peers;
}
