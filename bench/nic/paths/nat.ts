import { egressOf, MARKS, markKey, type EntryPort, type ShapedContainer } from '../../../src/egress/picture.ts';
import { formatAddress, parsePrefix } from '../../../src/host/ipv4.ts';
import type { NetworkSpec } from '../../../src/network/desired.ts';
import { FRAME } from '../../../src/network/frame.ts';
import { macOf, portName } from '../../../src/network/names.ts';
import type { Endpoint, HostNetwork, PicturePart } from '../../../src/network/picture.ts';
import { endpointPart, networkPart } from '../../../src/network/segment.ts';
import type { PathSpec } from '../paths.ts';
import type { PathPicture } from '../picture.ts';
import type { Wire } from '../wire.ts';
import { containersOf, indices, nameOf } from './containers.ts';
import { PLENTY_BITS_PER_SEC } from './shaped.ts';

/** A bridge network as Plimsoll makes one. */
const NETWORK: NetworkSpec = {
  name: 'bench',
  kind: 'bridge',
  pool: '10.88.0.0/24',
  internal: false,
  nat: true,
};

/** Containers in one network of the product's, with all that the product lays for them. */
export function networkPicture(network: HostNetwork, count: number, { uplink }: Wire): Omit<PathPicture, 'containers'> {
  const endpoints = indices(count).map((index) => endpointOf(network.spec, index));
  const parts: readonly PicturePart[] = [
    networkPart(network, uplink),
    ...endpoints.map((endpoint) => endpointPart(endpoint, network.spec, uplink)),
  ];
  return {
    namespaces: endpoints.map(({ namespace }) => namespace),
    links: parts.flatMap(({ links = [] }) => links),
    entries: parts.flatMap(({ entries = [] }) => entries),
    frame: FRAME,
    elements: parts.flatMap(({ elements = [] }) => elements),
    objects: [],
  };
}

/** The same with a class for each, which is marked, and holds back nothing. */
export function shapedPicture(network: HostNetwork, count: number, wire: Wire): Omit<PathPicture, 'containers'> {
  const picture = networkPicture(network, count, wire);
  const endpoints = indices(count).map((index) => endpointOf(network.spec, index));
  const shaped = endpoints.map(({ container, address }): ShapedContainer => {
    const port: EntryPort = { family: 'bridge', port: portName(network.spec.name, container), address };
    return {
      name: container,
      egress: { ceilingBitsPerSec: PLENTY_BITS_PER_SEC },
      ports: [port],
      within: [],
      functions: [],
    };
  });
  const { objects, marks } = egressOf(shaped, wire.uplink.link, { uplinkBitsPerSec: PLENTY_BITS_PER_SEC }, [], {
    objects: [],
    foreign: [],
    fairQueues: false,
  });
  const elements = marks.map(({ value }, index) => ({
    family: 'bridge' as const,
    set: MARKS,
    key: markKey(shaped[index]!.ports[0]!),
    value: value!,
  }));
  return { ...picture, elements: [...picture.elements, ...elements], objects };
}

/** The container of this number; its address comes after the network's own and its gateway's. */
export function endpointOf(spec: NetworkSpec, index: number): Endpoint {
  const container = nameOf(index);
  return {
    container,
    namespace: container,
    network: spec.name,
    link: 'eth0',
    address: formatAddress(parsePrefix(spec.pool).first + 2 + index),
    mac: macOf(container),
    publish: [],
    secondary: false,
  };
}

/** A veth, a bridge, Plimsoll's filter, connection tracking, masquerading. */
export const natPath: PathSpec = {
  name: 'nat',
  picture: (count, wire) => ({
    ...networkPicture({ spec: NETWORK, peers: [] }, count, wire),
    containers: containersOf(count, wire),
  }),
};

/** The same, marked and by a class of an HTB. */
export const shapedNatPath: PathSpec = {
  name: 'nat-shaped',
  picture: (count, wire) => ({
    ...shapedPicture({ spec: NETWORK, peers: [] }, count, wire),
    containers: containersOf(count, wire),
  }),
};
