import { plain } from '../../../src/network/segment.ts';
import { withinContainers } from './shaped.ts';
import { indices, nameOf } from './containers.ts';
import type { PathSpec } from '../paths.ts';
import { SINK } from '../wire.ts';

/** What stands in for a VF where there is none: nothing of the host's is between the container and the wire. */
export const directPath: PathSpec = {
  name: 'direct',
  picture: (count) => {
    const all = indices(count);
    const far = (index: number): string => `d${index}`;
    return {
      namespaces: all.map(nameOf),
      links: all.flatMap((index) => [
        {
          namespace: nameOf(index),
          name: 'eth0',
          kind: { type: 'veth', peer: { namespace: SINK, name: far(index), alias: '' } } as const,
          settings: plain(1500),
          why: `container ${nameOf(index)}`,
        },
        { namespace: SINK, name: far(index), settings: plain(1500), why: 'the far end of its wire' },
      ]),
      entries: all.flatMap((index) => [
        { kind: 'address', namespace: nameOf(index), link: 'eth0', prefix: `198.19.${index}.2/30` } as const,
        { kind: 'address', namespace: SINK, link: far(index), prefix: `198.19.${index}.1/30` } as const,
      ]),
      elements: [],
      objects: [],
      containers: all.map((index) => ({ namespace: nameOf(index), target: `198.19.${index}.1` })),
    };
  },
};

export const shapedDirectPath: PathSpec = withinContainers(directPath);
