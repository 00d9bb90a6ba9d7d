import type { PathPicture } from '../picture.ts';
import type { Wire } from '../wire.ts';

/** The namespace of the container of this number. */
export const nameOf = (index: number): string => `c${index}`;

export const indices = (count: number): number[] => Array.from({ length: count }, (_, index) => index);

/** So many containers, all of which send to the sink. */
export const containersOf = (count: number, { sink }: Pick<Wire, 'sink'>): PathPicture['containers'] =>
  indices(count).map((index) => ({ namespace: nameOf(index), target: sink }));
