import { parsePrefix } from '../host/ipv4.ts';
import type { NamespaceName } from '../host/namespaces.ts';
import type { RoutingEntry } from '../host/routing.ts';
import { hasGateway, type NetworkSpec } from './desired.ts';
import { bridgeName, endpointAlias, macOf, networkAlias, portName, vxlanName } from './names.ts';
import {
  element,
  type Endpoint,
  gatewayOf,
  type HostNetwork,
  type PictureLink,
  type PicturePart,
  type Uplink,
} from './picture.ts';
import { TUNNEL_PORT } from './frame.ts';

/** Outer Ethernet, IPv4, UDP and VXLAN headers (RFC 7348: 14 + 20 + 8 + 8). */
const TUNNEL_OVERHEAD_BYTES = 50;

/** The most that a network's links can carry over an uplink of this MTU. */
export const mtuMaxOf = ({ kind }: NetworkSpec, uplinkMtu: number): number =>
  uplinkMtu - (kind === 'overlay' ? TUNNEL_OVERHEAD_BYTES : 0);

/** Where a host has no uplink nothing leaves it: Ethernet's usual MTU. */
const MTU_USUAL = 1500;

/** What a network's links carry: as much as fits through a tunnel on this very uplink, or as it was asked for. */
const mtuOf = (spec: NetworkSpec, uplink: Uplink | null): number =>
  spec.mtu ?? mtuMaxOf(spec, uplink?.mtu ?? MTU_USUAL);

/** A bridge or overlay network on a host: its bridge, its tunnels, and whether there is a way in and out. */
export function networkPart({ spec, vni, peers }: HostNetwork, uplink: Uplink | null): PicturePart {
  const bridge = bridgeName(spec.name);
  const mtu = mtuOf(spec, uplink);
  const gateway = hasGateway(spec) ? gatewayOf(spec) : null;
  const links: PictureLink[] = [
    {
      namespace: '',
      name: bridge,
      kind: { type: 'bridge' },
      // Its own MAC, the same on every host: the gateway stays what it was when ports come and go, and when a container moves.
      settings: {
        ...plain(mtu),
        mac: macOf(`bridge ${spec.name}`),
        alias: networkAlias(spec.name),
        forwarding: gateway !== null,
      },
      why: `network ${spec.name}, ${spec.pool}${spec.internal ? ', internal' : ''}`,
    },
  ];
  const entries: RoutingEntry[] = [];
  if (gateway !== null) entries.push({ kind: 'address', namespace: '', link: bridge, prefix: gateway.prefix });
  const elements = [
    element('inet', 'ours', [bridge]),
    element('inet', 'inside', [bridge, bridge]),
    ...(gateway === null
      ? [element('inet', 'closed', [bridge])]
      : [element('inet', 'ways', [bridge, spec.pool]), element('inet', 'natted', [spec.pool])]),
  ];
  if (spec.kind === 'overlay' && uplink !== null && vni !== undefined) {
    const vxlan = vxlanName(spec.name);
    links.push({
      namespace: '',
      name: vxlan,
      kind: { type: 'vxlan', vni, local: uplink.address, udpPort: TUNNEL_PORT },
      settings: { ...plain(mtu), master: bridge, learning: false, alias: networkAlias(spec.name), forwarding: false },
      why: `tunnels of network ${spec.name}, VNI ${vni}, from ${uplink.address}`,
    });
    if (gateway === null) elements.push(element('bridge', 'closed', [vxlan]));
    for (const { address, mac, tunnelAddress } of peers) {
      const at = { namespace: '', link: vxlan, mac } as const;
      entries.push(
        { kind: 'fdb', ...at, destination: tunnelAddress },
        { kind: 'fdb', ...at },
        { kind: 'neighbour', ...at, address },
      );
    }
    for (const tunnelAddress of new Set(peers.map((peer) => peer.tunnelAddress)))
      elements.push(element('inet', 'peers', [tunnelAddress]));
  }
  return { links, entries, elements };
}

/** A container's interface in a bridge or overlay network. */
export function endpointPart(endpoint: Endpoint, spec: NetworkSpec, uplink: Uplink | null): PicturePart {
  const { container, namespace, network, link, address, mac, publish, secondary } = endpoint;
  const port = portName(network, container);
  const alias = endpointAlias(network, container);
  const mtu = mtuOf(spec, uplink);
  const entries: RoutingEntry[] = [
    { kind: 'address', namespace, link, prefix: `${address}/${parsePrefix(spec.pool).bits}` },
  ];
  if (hasGateway(spec)) {
    const out = { kind: 'route', namespace, link, to: '0.0.0.0/0', via: gatewayOf(spec).address } as const;
    const table = tableOf(link);
    if (!secondary) entries.push(out);
    // What it publishes here is answered from here, whichever network its default route goes by.
    else
      entries.push(
        { kind: 'rule', namespace, from: address, table },
        { kind: 'route', namespace, link, to: spec.pool, source: address, table },
        { ...out, table },
      );
  }
  return {
    links: veth(
      { namespace, link, mac, port, alias, mtu, why: `${container} in network ${network}, ${address}` },
      {
        master: bridgeName(network),
        // Where bridge-nf-call-iptables is 1, what it sends to its own published port stays on the bridge (br_nf_pre_routing_finish).
        hairpin: publish.length > 0,
        learning: true,
        forwarding: false,
      },
    ),
    entries,
    elements: [
      element('bridge', 'ports', [port]),
      element('bridge', 'bindings', [port, mac, address]),
      ...(hasGateway(spec) ? [] : [element('bridge', 'closed', [port])]),
      ...publish.map(({ protocol, hostAddress, hostPort, containerPort }) =>
        hostAddress === undefined
          ? element('inet', 'published', [protocol, hostPort], [address, containerPort])
          : element('inet', 'published_at', [hostAddress, protocol, hostPort], [address, containerPort]),
      ),
    ],
  };
}

/** Replies from an address go by a table of its own: 100 plus the number of the interface. */
export const tableOf = (link: string): number => FIRST_TABLE + Number(link.replace(/^\D+/, ''));

const FIRST_TABLE = 100;

/** As many interfaces a container may have. */
const TABLES_MAX = 32;

/** Is this the table of an interface of ours? */
export const isTableOfOurs = (table: number): boolean => table >= FIRST_TABLE && table < FIRST_TABLE + TABLES_MAX;

/** Up, of this MTU, without IPv6: a thousand ports that speak it make every change 25 times slower (measured). */
export const plain = (mtu: number): { up: true; mtu: number; ipv6: false } => ({ up: true, mtu, ipv6: false });

interface VethEnds {
  readonly namespace: NamespaceName;
  readonly link: string;
  readonly mac: string;
  readonly port: string;
  readonly portMac?: string;
  readonly alias: string;
  readonly mtu: number;
  readonly why: string;
}

/** Both ends of a container's interface: the host's with what is asked of it, the container's ready to use. */
export function veth(
  { namespace, link, mac, port, portMac, alias, mtu, why }: VethEnds,
  portSettings: Partial<PictureLink['settings']>,
): PictureLink[] {
  return [
    {
      namespace: '',
      name: port,
      kind: { type: 'veth', peer: { namespace, name: link, alias, mac, mtu } },
      settings: { ...plain(mtu), alias, ...(portMac !== undefined && { mac: portMac }), ...portSettings },
      why,
    },
    { namespace, name: link, settings: { ...plain(mtu), alias, mac, forwarding: false }, why },
  ];
}
