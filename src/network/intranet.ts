import type { RoutingEntry } from '../host/routing.ts';
import type { NetworkSpec } from './desired.ts';
import { endpointAlias, macOf, portName } from './names.ts';
import { element, type Endpoint, type PicturePart, type Uplink } from './picture.ts';
import { plain, tableOf, veth } from './segment.ts';
import { onTheUnderlay, vfPart } from './sriov.ts';

/** A next hop that every container may use, because each is alone on its link with the host (RFC 3927: link-local). */
const NEXT_HOP = '169.254.1.1';

/** A container's intranet address: an address of the underlay on an interface of its own. */
export const intranetPart = (endpoint: Endpoint, spec: NetworkSpec, uplink: Uplink): PicturePart =>
  spec.by === 'vf'
    ? vfPart(endpoint, spec, uplink)
    : spec.by === 'macvlan'
      ? macvlanPart(endpoint, uplink)
      : routedPart(endpoint, uplink);

/** The host answers ARP for the address, and routes to the container alone. */
function routedPart(
  { container, namespace, network, link, address, mac, secondary }: Endpoint,
  uplink: Uplink,
): PicturePart {
  const port = portName(network, container);
  const portMac = macOf(`port ${network}/${container}`);
  const inside = { namespace, link } as const;
  const table = tableOf(link);
  const byHost = { ...inside, to: '0.0.0.0/0', via: NEXT_HOP, source: address } as const;
  return {
    links: [
      ...veth(
        {
          namespace,
          link,
          mac,
          port,
          portMac,
          alias: endpointAlias(network, container),
          mtu: uplink.mtu,
          why: `intranet address ${address} of ${container}`,
        },
        { master: null, forwarding: true },
      ),
    ],
    entries: [
      { kind: 'route', namespace: '', link: port, to: `${address}/32` },
      { kind: 'neighbour', namespace: '', link: port, address, mac },
      { kind: 'proxy', namespace: '', link: uplink.link, address },
      { kind: 'address', ...inside, prefix: `${address}/32` },
      { kind: 'neighbour', ...inside, address: NEXT_HOP, mac: portMac },
      { kind: 'route', ...byHost, table },
      { kind: 'rule', namespace, from: address, table },
      ...(secondary ? [] : [{ kind: 'route', ...byHost } satisfies RoutingEntry]),
    ],
    elements: [
      element('inet', 'ours', [port]),
      element('inet', 'serving', [port]),
      element('inet', 'intranet', [port, address]),
    ],
    announcements: [{ namespace: '', link: uplink.link, address }],
  };
}

/** The container is on the wire itself: the host's filter sees nothing of it, and the host cannot reach it. */
function macvlanPart(endpoint: Endpoint, uplink: Uplink): PicturePart {
  const { container, namespace, network, link, address, mac } = endpoint;
  return {
    links: [
      {
        namespace,
        name: link,
        kind: { type: 'macvlan', parent: uplink.link },
        settings: { ...plain(uplink.mtu), alias: endpointAlias(network, container), mac, forwarding: false },
        why: `intranet address ${address} of ${container}`,
      },
    ],
    entries: onTheUnderlay(endpoint, uplink),
    announcements: [{ namespace, link, address }],
  };
}
