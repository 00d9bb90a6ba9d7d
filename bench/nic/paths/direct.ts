import { plain } from '../../../src/network/segment.ts';
import { withinContainers } from './shaped.ts';
import type { PathSpec } from '../paths.ts';
import { SINK } from '../wire.ts';

const nameOf = (index: number): string => `c${index}`;

/** What stands in for a VF where there is none: nothing of the host's is between the container and the wire. */
export const directPath: PathSpec = {
  name: 'direct',
  title: 'direct (no VF)',
  about: "the container's own veth ends on the wire: a stand-in, not SR-IOV",
  picture: (count) => {
    const indices = Array.from({ length: count }, (_, index) => index);
    const far = (index: number): string => `d${index}`;
    return {
      namespaces: indices.map(nameOf),
      links: indices.flatMap((index) => [
        {
          namespace: nameOf(index),
          name: 'eth0',
          kind: { type: 'veth', peer: { namespace: SINK, name: far(index), alias: '' } } as const,
          settings: plain(1500),
          why: `container ${nameOf(index)}`,
        },
        { namespace: SINK, name: far(index), settings: plain(1500), why: 'the far end of its wire' },
      ]),
      entries: indices.flatMap((index) => [
        { kind: 'address', namespace: nameOf(index), link: 'eth0', prefix: `198.19.${index}.2/30` } as const,
        { kind: 'address', namespace: SINK, link: far(index), prefix: `198.19.${index}.1/30` } as const,
      ]),
      elements: [],
      objects: [],
      containers: indices.map((index) => ({ namespace: nameOf(index), target: `198.19.${index}.1` })),
    };
  },
};

export const shapedDirectPath: PathSpec = withinContainers(directPath);
