import { classNumbers } from '../../../src/egress/classes.ts';
import type { ShaperObject } from '../../../src/host/shaper.ts';
import type { PathSpec } from '../paths.ts';

/** More than is ever sent: what is looked for is the way through the classes, not their waiting. */
export const PLENTY_BITS_PER_SEC = 40e9;

/** The only class there is, of all that leaves. */
const MINOR = 1;

/** A class of an HTB that holds back nothing. */
export function qdiscOf(namespace: string, name: string): ShaperObject[] {
  const rates = { rateBitsPerSec: PLENTY_BITS_PER_SEC, ceilBitsPerSec: PLENTY_BITS_PER_SEC };
  return [
    { kind: 'qdisc', namespace, name, defaultMinor: MINOR },
    {
      kind: 'class',
      namespace,
      name,
      minor: MINOR,
      parentMinor: 0,
      ...rates,
      ...classNumbers(rates),
      fairQueue: false,
    },
  ];
}

/** The same way with an HTB on each container's own interface, as those have it that pass the host by. */
export const withinContainers = (path: PathSpec): PathSpec => ({
  ...path,
  name: `${path.name}-shaped`,
  picture: (count, wire) => {
    const picture = path.picture(count, wire);
    return { ...picture, objects: picture.containers.flatMap(({ namespace }) => qdiscOf(namespace, 'eth0')) };
  },
});
