import type { ClassesObservation, Observation, RateObservation } from '../engine/observation.ts';
import type { Milliseconds } from '../host/units.ts';
import type { ReachPair } from './reach.ts';

/** In which class packets are counted: a container's, that of what nobody marked, or none. */
export type ClassMeant = { readonly container: string } | 'default' | 'none';

/** What is claimed of packets on a host's way out. */
export type TrafficClaim =
  | {
      readonly kind: 'classified';
      readonly pair: ReachPair;
      readonly as: ClassMeant;
      /** The sender marks them itself, as of this container. */
      readonly markedAs?: string;
      readonly momentMs: Milliseconds;
    }
  | {
      readonly kind: 'rate';
      readonly pair: ReachPair;
      readonly protocol: 'tcp' | 'udp';
      readonly atLeast?: number;
      readonly atMost?: number;
      /** No faster than this; as fast as it goes unless set. */
      readonly sends?: number;
      readonly momentMs: Milliseconds;
      readonly forMs: Milliseconds;
    };
export type ClassifiedClaim = Extract<TrafficClaim, { kind: 'classified' }>;
export type RateClaim = Extract<TrafficClaim, { kind: 'rate' }>;

/** How the class of what nobody marked is called in observations. */
export const DEFAULT_CLASS = 'default';

/** What tells a measurement from the others of a run. */
const keyOf = (momentMs: number, from: string, to: string, more: string): string =>
  [momentMs, from, to, more].join('\n');

export const classifiedKey = ({ momentMs, pair, markedAs = '' }: ClassifiedClaim): string =>
  keyOf(momentMs, pair.from.text, pair.to.text, markedAs);

export const rateKey = ({ momentMs, pair, protocol }: RateClaim): string =>
  keyOf(momentMs, pair.from.text, pair.to.text, protocol);

interface Judged {
  readonly held: boolean;
  readonly detail: string;
}

/** Judges what is claimed of traffic by what was measured. */
export function judgeTraffic(claim: TrafficClaim, observations: readonly Observation[]): Judged {
  const seen = observations.find((each): each is ClassesObservation | RateObservation =>
    claim.kind === 'classified'
      ? each.kind === 'classes' &&
        keyOf(each.momentMs, each.from, each.to, each.markedAs ?? '') === classifiedKey(claim)
      : each.kind === 'rate' && keyOf(each.momentMs, each.from, each.to, each.protocol) === rateKey(claim),
  );
  const arrow = `${claim.pair.from.text} → ${claim.pair.to.text}`;
  if (seen === undefined) return { held: false, detail: `${arrow}: nothing was sent` };
  if (seen.why !== '') return { held: false, detail: `${arrow}: nothing was sent: ${seen.why}` };
  const { held, told } =
    claim.kind === 'classified'
      ? judgeClass(claim.as, seen as ClassesObservation)
      : judgeRate(claim, seen as RateObservation);
  return { held, detail: `${arrow}: ${told}` };
}

/** Of others' packets the class of what nobody marked may count some: who is nobody's neighbour speaks ARP there. */
function judgeClass(as: ClassMeant, { sent, counted }: ClassesObservation): { held: boolean; told: string } {
  const wanted = as === 'none' ? undefined : as === 'default' ? DEFAULT_CLASS : as.container;
  const others = Object.entries(counted).filter(([name]) => name !== wanted && name !== DEFAULT_CLASS);
  const told = Object.entries(counted).map(([name, packets]) => `${packets} as ${name}`);
  const isRight = wanted === undefined ? (counted[DEFAULT_CLASS] ?? 0) < sent : (counted[wanted] ?? 0) >= sent;
  return {
    held: isRight && others.every(([, packets]) => packets === 0),
    told: `${sent} packets; counted ${told.length === 0 ? 'nowhere' : told.join(', ')}`,
  };
}

function judgeRate(
  { atLeast = 0, atMost = Infinity }: RateClaim,
  { bitsPerSec, forMs }: RateObservation,
): { held: boolean; told: string } {
  const rate = bitsPerSec ?? 0;
  return {
    held: rate >= atLeast && rate <= atMost,
    told: `${(rate / 1e6).toFixed(2)} Mbit/s over ${forMs / 1000} s`,
  };
}
