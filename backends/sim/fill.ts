/** Something of which there is only so much. */
export interface Pool {
  left: number;
}

/** What somebody takes of a pool with each of what is granted. */
export interface Take {
  readonly of: Pool;
  readonly each: number;
}

/** Somebody who takes from several pools at once. */
export interface Claimant {
  /** Takes twice as fast as one of half of it. */
  readonly weight: number;
  /** How much more it takes at most. */
  room: number;
  readonly takes: readonly Take[];
  granted: number;
}

/** Grants all of them by their weights, each until it has what it takes or one of its pools is empty: weighted max-min. */
export function fill(claimants: readonly Claimant[]): void {
  let active = claimants.filter(canTake);
  while (active.length > 0) {
    const weights = new Map<Pool, number>();
    for (const { takes, weight } of active)
      for (const { of, each } of takes) weights.set(of, (weights.get(of) ?? 0) + weight * each);
    const step = Math.min(
      ...active.map(({ room, weight }) => room / weight),
      ...Array.from(weights, ([{ left }, weight]) => left / weight),
    );
    for (const [pool, weight] of weights) pool.left = rest(pool.left, step * weight);
    for (const claimant of active) {
      claimant.granted += step * claimant.weight;
      claimant.room = rest(claimant.room, step * claimant.weight);
    }
    active = active.filter(canTake);
  }
}

const canTake = ({ room, takes }: Claimant): boolean => room > 0 && takes.every(({ of }) => of.left > 0);

/** Rounding leaves some millionth of a packet: that is nothing. Of what has no end nothing is left when all was taken. */
const ROUNDING = 1e-12;

function rest(of: number, taken: number): number {
  if (of === Infinity) return taken === Infinity ? 0 : Infinity;
  return of - taken <= of * ROUNDING ? 0 : of - taken;
}
