import type { PathSpec } from '../paths.ts';
import { onTheWire } from '../wire.ts';

/** A virtual function of the card, in the container's own namespace: its link is moved there, not made. */
export const vfPath: PathSpec = {
  name: 'vf',
  title: 'SR-IOV VF',
  about: 'a virtual function of the card',
  picture: (count, wire) => {
    const indices = Array.from({ length: count }, (_, index) => index);
    return {
      namespaces: indices.map((index) => `c${index}`),
      links: [],
      entries: indices.map((index) => ({
        kind: 'address',
        namespace: `c${index}`,
        link: 'eth0',
        prefix: `${onTheWire(wire, index)}/${wire.uplink.bits}`,
      })),
      elements: [],
      objects: [],
      containers: indices.map((index) => ({ namespace: `c${index}`, target: wire.sink })),
    };
  },
};
