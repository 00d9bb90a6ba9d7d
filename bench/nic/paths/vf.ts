import { containersOf, indices, nameOf } from './containers.ts';
import type { PathSpec } from '../paths.ts';
import { onTheWire } from '../wire.ts';

/** A virtual function of the card, in the container's own namespace: its link is moved there, not made. */
export const vfPath: PathSpec = {
  name: 'vf',
  picture: (count, wire) => {
    const all = indices(count);
    return {
      namespaces: all.map(nameOf),
      links: [],
      entries: all.map((index) => ({
        kind: 'address',
        namespace: nameOf(index),
        link: 'eth0',
        prefix: `${onTheWire(wire, index)}/${wire.uplink.bits}`,
      })),
      elements: [],
      objects: [],
      containers: containersOf(count, wire),
    };
  },
};
