import { plain } from '../../../src/network/segment.ts';
import { withinContainers } from './shaped.ts';
import { containersOf, indices, nameOf } from './containers.ts';
import type { PathSpec } from '../paths.ts';
import { onTheWire } from '../wire.ts';

/** A macvlan on the uplink. */
export const macvlanPath: PathSpec = {
  name: 'macvlan',
  picture: (count, wire) => {
    const all = indices(count);
    const { link: parent, bits, mtu } = wire.uplink;
    return {
      namespaces: all.map(nameOf),
      links: all.map((index) => ({
        namespace: nameOf(index),
        name: 'eth0',
        kind: { type: 'macvlan', parent },
        settings: plain(mtu),
        why: `container ${nameOf(index)}`,
      })),
      entries: all.map((index) => ({
        kind: 'address',
        namespace: nameOf(index),
        link: 'eth0',
        prefix: `${onTheWire(wire, index)}/${bits}`,
      })),
      elements: [],
      objects: [],
      containers: containersOf(count, wire),
    };
  },
};

export const shapedMacvlanPath: PathSpec = withinContainers(macvlanPath);
