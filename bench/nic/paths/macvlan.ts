import { plain } from '../../../src/network/segment.ts';
import { withinContainers } from './shaped.ts';
import type { PathSpec } from '../paths.ts';
import { onTheWire } from '../wire.ts';

const nameOf = (index: number): string => `c${index}`;

export const macvlanPath: PathSpec = {
  name: 'macvlan',
  title: 'macvlan',
  about: 'a macvlan on the uplink',
  picture: (count, wire) => {
    const indices = Array.from({ length: count }, (_, index) => index);
    const { link: parent, bits, mtu } = wire.uplink;
    return {
      namespaces: indices.map(nameOf),
      links: indices.map((index) => ({
        namespace: nameOf(index),
        name: 'eth0',
        kind: { type: 'macvlan', parent },
        settings: plain(mtu),
        why: `container ${nameOf(index)}`,
      })),
      entries: indices.map((index) => ({
        kind: 'address',
        namespace: nameOf(index),
        link: 'eth0',
        prefix: `${onTheWire(wire, index)}/${bits}`,
      })),
      elements: [],
      objects: [],
      containers: indices.map((index) => ({ namespace: nameOf(index), target: wire.sink })),
    };
  },
};

export const shapedMacvlanPath: PathSpec = withinContainers(macvlanPath);
