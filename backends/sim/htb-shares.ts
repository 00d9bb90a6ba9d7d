import type { ShaperClass } from '../../src/host/shaper.ts';
import { type Claimant, fill, type Pool, type Take } from './fill.ts';
import type { Want } from './flow-rates.ts';

/** What counts of a class for how much passes. */
export interface ShareClass {
  readonly numbers: Pick<ShaperClass, 'rateBitsPerSec' | 'ceilBitsPerSec' | 'quantumBytes' | 'fairQueue'>;
  readonly parent: ShareClass | null;
}

interface Leaf {
  readonly of: ShareClass;
  /** Those above it, from below. */
  readonly above: readonly ShareClass[];
  readonly wants: readonly Want[];
  readonly wantedBitsPerSec: number;
  readonly takesOfLink: Take;
  bitsPerSec: number;
}

/**
 * How much of each flow passes an HTB on a link of this speed (net/sched/sch_htb.c), as it is on average, bursts and queues
 * left out. What is in no class goes first (htb_dequeue). Then every class has up to its rate, whatever those above it have
 * left (HTB_CAN_SEND); and what is left of the rate of one above, those under it borrow in proportion to their quantum, up to
 * their own ceilings and those between (htb_activate_prios): of a deeper one first.
 */
export function shareOf(wants: readonly Want[], linkBitsPerSec: number): number[] {
  const link: Pool = { left: linkBitsPerSec };
  const passed = new Map<Want, number>();
  const direct = wants.filter(({ into }) => into === null);
  queue(direct, false, link, ({ takesBehind = 1 }) => takesBehind, passed);
  const leaves = leavesOf(wants, link);
  give(leaves, ({ of, takesOfLink }) => ({ upTo: of.numbers.rateBitsPerSec, takes: [takesOfLink] }));
  lend(leaves);
  for (const { of, wants: own, bitsPerSec } of leaves)
    queue(own, of.numbers.fairQueue, { left: bitsPerSec }, () => 1, passed);
  return wants.map((want) => passed.get(want)!);
}

function leavesOf(wants: readonly Want[], link: Pool): Leaf[] {
  const byClass = Map.groupBy(wants, ({ into }) => into);
  byClass.delete(null);
  return Array.from(byClass as Map<ShareClass, Want[]>, ([of, own]) => ({
    of,
    above: ancestorsOf(of),
    wants: own,
    wantedBitsPerSec: own.reduce((sum, { amount }) => sum + amount, 0),
    takesOfLink: { of: link, each: takesOf(own, link.left) },
    bitsPerSec: 0,
  }));
}

/** What one bit of a class takes of the link behind it: on average over what its flows want, of which none gets more than the link has. */
function takesOf(wants: readonly Want[], linkBitsPerSec: number): number {
  const shares = wants.map(({ amount }) => Math.min(amount, linkBitsPerSec));
  const whole = shares.reduce((sum, share) => sum + share, 0);
  const isTold = whole > 0 && whole < Infinity;
  return wants.reduce(
    (sum, { takesBehind = 1 }, index) => sum + takesBehind * (isTold ? shares[index]! / whole : 1 / wants.length),
    0,
  );
}

function ancestorsOf({ parent }: ShareClass): ShareClass[] {
  const all: ShareClass[] = [];
  for (let at = parent; at !== null; at = at.parent) all.push(at);
  return all;
}

/** Gives those that have a bound more, in proportion to their quantum. */
function give(
  leaves: readonly Leaf[],
  boundOf: (leaf: Leaf) => { readonly upTo: number; readonly takes: readonly Take[] } | undefined,
): void {
  const claims = leaves.flatMap((leaf): { leaf: Leaf; claimant: Claimant }[] => {
    const bound = boundOf(leaf);
    if (bound === undefined) return [];
    const room = Math.min(leaf.wantedBitsPerSec, bound.upTo) - leaf.bitsPerSec;
    return [{ leaf, claimant: { weight: leaf.of.numbers.quantumBytes, room, takes: bound.takes, granted: 0 } }];
  });
  fill(claims.map(({ claimant }) => claimant));
  for (const { leaf, claimant } of claims) leaf.bitsPerSec += claimant.granted;
}

function lend(leaves: readonly Leaf[]): void {
  const deepest = Math.max(0, ...leaves.map(({ above }) => above.length));
  for (let depth = deepest; depth > 0; depth--) {
    const totals = new Map<ShareClass, number>();
    for (const { above, bitsPerSec } of leaves)
      for (const each of above) totals.set(each, (totals.get(each) ?? 0) + bitsPerSec);
    const pools = new Map<ShareClass, Pool>();
    const take = (from: ShareClass, most: number): Take => {
      let pool = pools.get(from);
      if (pool === undefined) pools.set(from, (pool = { left: Math.max(0, most - totals.get(from)!) }));
      return { of: pool, each: 1 };
    };
    give(leaves, ({ of, above, takesOfLink }) => {
      const lender = above.at(-depth);
      if (lender === undefined) return undefined;
      const between = above.slice(0, -depth).map((each) => take(each, each.numbers.ceilBitsPerSec));
      const lent = take(lender, lender.numbers.rateBitsPerSec);
      return { upTo: of.numbers.ceilBitsPerSec, takes: [takesOfLink, lent, ...between] };
    });
  }
}

/**
 * Flows that wait in one queue. In an fq_codel each has its turn. In a FIFO that is full all the time a packet is dropped
 * whosoever it is: what does not slow down has its share of what arrives, and what does has the rest.
 */
function queue(
  wants: readonly Want[],
  isFair: boolean,
  pool: Pool,
  each: (want: Want) => number,
  passed: Map<Want, number>,
): void {
  const turns = (some: readonly Want[]): void => {
    const claimants = some.map((want): Claimant => ({
      weight: 1,
      room: want.amount,
      takes: [{ of: pool, each: each(want) }],
      granted: 0,
    }));
    fill(claimants);
    for (const [at, want] of some.entries()) passed.set(want, claimants[at]!.granted);
  };
  if (isFair) return turns(wants);
  const steady = wants.filter(({ isElastic }) => !isElastic);
  const arriving = steady.reduce((sum, want) => sum + want.amount * each(want), 0);
  if (arriving === Infinity) turns(steady);
  else {
    const part = arriving <= pool.left ? 1 : pool.left / arriving;
    for (const want of steady) passed.set(want, want.amount * part);
    pool.left = Math.max(0, pool.left - arriving);
  }
  turns(wants.filter(({ isElastic }) => isElastic));
}
