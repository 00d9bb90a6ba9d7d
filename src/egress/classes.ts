import type { ShaperClass } from '../host/shaper.ts';

/**
 * What a class may send at once, unless its rate asks for more: ten full frames. With it, wire rate over limit was 1.000
 * from 1 to 500 Mbit/s (measured); tc's own default undershoots at 1 Mbit/s, and the CNI plugin's of 256 MB lets a second
 * of line rate pass.
 */
const BURST_BYTES = 15_000;

/** At higher rates as much as flows in a millisecond, so that a late timer costs nothing. */
const BURST_MS = 1;

/** What each sends in its turn while several borrow: the same for all, so that they share evenly. HTB warns outside 1,000 to 200,000 (net/sched/sch_htb.c). */
const QUANTUM_BYTES = 15_000;

const burstOf = (bitsPerSec: number): number => Math.max(BURST_BYTES, Math.ceil((bitsPerSec / 8 / 1000) * BURST_MS));

/** Burst, ceiling burst and quantum of a class, by its rates. */
export const classNumbers = ({
  rateBitsPerSec,
  ceilBitsPerSec,
}: Pick<ShaperClass, 'rateBitsPerSec' | 'ceilBitsPerSec'>): Pick<
  ShaperClass,
  'burstBytes' | 'ceilBurstBytes' | 'quantumBytes'
> => ({
  burstBytes: burstOf(rateBitsPerSec),
  ceilBurstBytes: burstOf(ceilBitsPerSec),
  quantumBytes: QUANTUM_BYTES,
});
