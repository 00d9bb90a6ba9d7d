import type { Snapshot } from './policy.ts';

/** The killable container that comes first in this order, or -1 where there is none. */
export function first({ count, killable }: Snapshot, compare: (a: number, b: number) => number): number {
  let best = -1;
  for (let index = 0; index < count; index++) {
    if (killable[index] === 1 && (best < 0 || compare(index, best) < 0)) best = index;
  }
  return best;
}
