import type { ClassesObservation, Observation, PacketsObservation, RateObservation } from '../engine/observation.ts';
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
    }
  | {
      readonly kind: 'packets';
      readonly pair: ReachPair;
      readonly payloadBytes: number;
      /** A second. */
      readonly atLeast?: number;
      readonly atMost?: number;
      readonly momentMs: Milliseconds;
      readonly forMs: Milliseconds;
    };
export type ClassifiedClaim = Extract<TrafficClaim, { kind: 'classified' }>;
export type RateClaim = Extract<TrafficClaim, { kind: 'rate' }>;
export type PacketsClaim = Extract<TrafficClaim, { kind: 'packets' }>;

/** How the class of what nobody marked is called in observations. */
export const DEFAULT_CLASS = 'default';

/** What tells a measurement from the others of a run. */
const keyOf = (momentMs: number, from: string, to: string, more: string): string =>
  [momentMs, from, to, more].join('\n');

export const classifiedKey = ({ momentMs, pair, markedAs = '' }: ClassifiedClaim): string =>
  keyOf(momentMs, pair.from.text, pair.to.text, markedAs);

export const rateKey = ({ momentMs, pair, protocol }: RateClaim): string =>
  keyOf(momentMs, pair.from.text, pair.to.text, protocol);

export const packetsKey = ({ momentMs, pair, payloadBytes }: PacketsClaim): string =>
  keyOf(momentMs, pair.from.text, pair.to.text, String(payloadBytes));

interface Judged {
  readonly held: boolean;
  readonly detail: string;
}

/** Judges what is claimed of traffic by what was measured. */
export function judgeTraffic(claim: TrafficClaim, observations: readonly Observation[]): Judged {
  const judgement = judged(claim, observations);
  const arrow = `${claim.pair.from.text} → ${claim.pair.to.text}`;
  return { held: judgement?.held ?? false, detail: `${arrow}: ${judgement?.detail ?? 'nothing was sent'}` };
}

/** Undefined: nothing was measured. */
function judged(claim: TrafficClaim, observations: readonly Observation[]): Judged | undefined {
  switch (claim.kind) {
    case 'classified': {
      const seen = observations.find(
        (each): each is ClassesObservation =>
          each.kind === 'classes' &&
          keyOf(each.momentMs, each.from, each.to, each.markedAs ?? '') === classifiedKey(claim),
      );
      return unlessUnsent(seen, (measured) => judgeClass(claim.as, measured));
    }
    case 'rate': {
      const seen = observations.find(
        (each): each is RateObservation =>
          each.kind === 'rate' && keyOf(each.momentMs, each.from, each.to, each.protocol) === rateKey(claim),
      );
      return unlessUnsent(seen, ({ bitsPerSec, forMs }) => {
        const rate = bitsPerSec ?? 0;
        return { held: isWithin(rate, claim), detail: `${(rate / 1e6).toFixed(2)} Mbit/s over ${forMs / 1000} s` };
      });
    }
    case 'packets': {
      const seen = observations.find(
        (each): each is PacketsObservation =>
          each.kind === 'packets' &&
          keyOf(each.momentMs, each.from, each.to, String(each.payloadBytes)) === packetsKey(claim),
      );
      return unlessUnsent(seen, ({ packetsPerSec, payloadBytes, forMs }) => {
        const rate = packetsPerSec ?? 0;
        const told = `${Math.round(rate)} packets/s of ${payloadBytes} bytes over ${forMs / 1000} s`;
        return { held: isWithin(rate, claim), detail: told };
      });
    }
  }
}

function unlessUnsent<Seen extends { readonly why: string }>(
  seen: Seen | undefined,
  judge: (seen: Seen) => Judged,
): Judged | undefined {
  if (seen === undefined || seen.why === '') return seen && judge(seen);
  return { held: false, detail: `nothing was sent: ${seen.why}` };
}

const isWithin = (rate: number, { atLeast = 0, atMost = Infinity }: RateClaim | PacketsClaim): boolean =>
  rate >= atLeast && rate <= atMost;

/** Of others' packets the class of what nobody marked may count some: who is nobody's neighbour speaks ARP there. */
function judgeClass(as: ClassMeant, { sent, counted }: ClassesObservation): Judged {
  const wanted = as === 'none' ? undefined : as === 'default' ? DEFAULT_CLASS : as.container;
  const others = Object.entries(counted).filter(([name]) => name !== wanted && name !== DEFAULT_CLASS);
  const told = Object.entries(counted).map(([name, packets]) => `${packets} as ${name}`);
  const isRight = wanted === undefined ? (counted[DEFAULT_CLASS] ?? 0) < sent : (counted[wanted] ?? 0) >= sent;
  return {
    held: isRight && others.every(([, packets]) => packets === 0),
    detail: `${sent} packets; counted ${told.length === 0 ? 'nowhere' : told.join(', ')}`,
  };
}
