import type { Observation, ReachObservation } from '../engine/observation.ts';
import type { Ipv4Address } from '../host/ipv4.ts';
import type { NamespaceName } from '../host/namespaces.ts';
import type { Milliseconds } from '../host/units.ts';

/** Who sends: a container, a host, or a namespace that somebody made by hand. */
export interface Sender {
  /** As it is written: `c1`, `h1`, `h1/n1`. */
  readonly text: string;
  readonly host: string;
  readonly namespace: NamespaceName;
}

/** Whom a packet is for. A container's address is its own to have: what it is shows when the packet is sent. */
export type Target = { readonly text: string } & (
  | { readonly kind: 'container'; readonly container: string; readonly network?: string }
  /** A host, a published port of it, a gateway, or just an address. */
  | { readonly kind: 'address'; readonly address: Ipv4Address; readonly port?: number }
);

/** One packet that a claim asks for. */
export interface ReachPair {
  readonly from: Sender;
  readonly to: Target;
  /** Who alone counts, as in `ProbeResult`; null: whoever it is. */
  readonly by: string | null;
}

/** Each of these reaches, or none of them does. */
export interface ReachClaim {
  readonly kind: 'reaches' | 'cannotReach';
  readonly pairs: readonly ReachPair[];
  readonly momentMs: Milliseconds;
  readonly forgedSource?: Ipv4Address;
  readonly payload?: number | 'full';
  /** The source address with which it must arrive. */
  readonly seenFrom?: Ipv4Address;
}

/** The name in an answer's signature, as scenarios have it: `h1/web` is web, `h1/` is h1. */
export const nameOf = (signature: string): string => {
  const [host = '', namespace = ''] = signature.split('/');
  return namespace === '' ? host : namespace;
};

/** What tells one probe from the others of a run. */
export const probeKey = (
  { momentMs, forgedSource, payload }: Pick<ReachClaim, 'momentMs' | 'forgedSource' | 'payload'>,
  { from, to }: Pick<ReachPair, 'from' | 'to'>,
): string => [momentMs, from.text, to.text, forgedSource ?? '', payload ?? ''].join('\n');

const observedKey = (seen: ReachObservation): string =>
  [
    seen.momentMs,
    seen.from,
    seen.to,
    seen.forgedSource ?? '',
    seen.full === true ? 'full' : (seen.payloadBytes ?? ''),
  ].join('\n');

interface Judged {
  readonly held: boolean;
  readonly told: string;
}

/** More would be a list that nobody reads. */
const TOLD_MAX = 6;

/** Judges who reached whom by the probes that were observed. */
export function judgeReach(
  claim: ReachClaim,
  observations: readonly Observation[],
): { readonly held: boolean; readonly detail: string } {
  const seen = new Map(observations.flatMap((each) => (each.kind === 'reach' ? [[observedKey(each), each]] : [])));
  const judged = claim.pairs.map((pair) => {
    const probe = seen.get(probeKey(claim, pair));
    const arrow = `${pair.from.text} → ${pair.to.text}`;
    if (probe === undefined) return { held: false, told: `${arrow}: nothing was sent` };
    const { held, told } =
      claim.kind === 'reaches' ? judgeArrival(pair, probe, claim.seenFrom) : judgeAbsence(pair, probe);
    return { held, told: `${arrow}${probe.address === null ? '' : ` (${probe.address})`}: ${told}` };
  });
  const wrong = judged.filter(({ held }) => !held);
  const told = wrong.length > 0 ? wrong : judged;
  const more = told.length > TOLD_MAX ? `; and ${told.length - TOLD_MAX} more` : '';
  const count = wrong.length > 0 && judged.length > 1 ? `${wrong.length} of ${judged.length} not: ` : '';
  return {
    held: wrong.length === 0,
    detail: `${count}${told
      .slice(0, TOLD_MAX)
      .map((each) => each.told)
      .join('; ')}${more}`,
  };
}

/** To whoever forges its source no answer comes back: there, arriving is reaching. */
function judgeArrival({ by }: ReachPair, seen: ReachObservation, wanted: Ipv4Address | undefined): Judged {
  const { forgedSource, answeredBy, arrivedAt, seenFrom, why } = seen;
  const who = forgedSource === undefined ? answeredBy : arrivedAt;
  if (who === null)
    return { held: false, told: arrivedAt === null ? why : `${nameOf(arrivedAt)} got it, but no answer came back` };
  const isRight = by === null || who === by;
  const told = [
    `${nameOf(who)} ${forgedSource === undefined ? 'answered' : 'got it'}`,
    ...(isRight ? [] : [`in place of ${nameOf(by)}`]),
    ...(seenFrom !== null && (wanted !== undefined || forgedSource !== undefined) ? [`and saw ${seenFrom}`] : []),
  ];
  return { held: isRight && (wanted === undefined || wanted === seenFrom), told: told.join(' ') };
}

/** What arrives has reached, whether or not an answer came back. Somebody else at that address has not been reached by it. */
function judgeAbsence({ by }: ReachPair, { address, answeredBy, arrivedAt, why }: ReachObservation): Judged {
  if (address === null) return { held: false, told: `nothing was sent: ${why}` };
  const who = answeredBy ?? arrivedAt;
  if (who === null) return { held: true, told: why };
  return {
    held: by !== null && who !== by,
    told: `${nameOf(who)} ${answeredBy === null ? 'got it' : 'answered'}${by !== null && who !== by ? `, which has that address there` : ''}`,
  };
}
