import { z } from 'zod';
import { type Bytes, parseBytes, UnitError } from '../host/units.ts';
import { duration, exactlyOne, kindOf, name, strict } from './fields.ts';
import { HOST_CLAIMS, type HostClaimWritten } from './host-claims.ts';
import { address, PAYLOAD_MAX_BYTES } from './network-fields.ts';
import type { CardClaim } from './cards.ts';
import type { ReachClaim } from './reach.ts';
import type { Claim } from './scenario.ts';
import type { TrafficClaim } from './traffic.ts';

/** What is claimed of containers, memory and what Plimsoll says: it names nothing that is to be looked up. */
type MemoryClaim = Exclude<Claim, ReachClaim | TrafficClaim | CardClaim>;
export type ClaimWritten = MemoryClaim | ReachWritten | HostClaimWritten;

const end = z.string().min(1);
const ends = z.unknown().transform((written) => (Array.isArray(written) ? (written as unknown[]) : [written]));
const some = ends.pipe(z.array(end).min(1, 'an empty list claims nothing: name who'));

/** Who reaches whom, before the names are looked up. */
const reach = <Kind extends ReachClaim['kind']>(kind: Kind) =>
  strict({
    from: some,
    to: some,
    answeredBy: end.optional(),
    as: address.optional(),
    seenFrom: end.optional(),
    payload: z
      .union(
        [z.literal('full'), z.int().min(0).max(PAYLOAD_MAX_BYTES)],
        `a payload is a number of bytes up to ${PAYLOAD_MAX_BYTES}, or full`,
      )
      .optional(),
    at: duration.optional(),
  }).transform((written) => ({ ...written, kind }));
export type ReachWritten = z.infer<ReturnType<typeof reach<ReachClaim['kind']>>>;

const names = z.array(name).min(1, 'an empty list claims nothing: name a container, or write noKills: true');
const count = z.int().min(0);

/** A number is a factor of the hard limit, a text a size. */
const limit = z.unknown().transform((written, context): { bytes: Bytes } | { ofHardLimit: number } => {
  if (typeof written === 'number' && written > 0 && written < 100) return { ofHardLimit: written };
  try {
    if (typeof written === 'string') return { bytes: parseBytes(written) };
  } catch (error) {
    if (!(error instanceof UnitError)) throw error;
  }
  context.addIssue({
    code: 'custom',
    message: `${kindOf(written)} is neither a factor of the hard limit, like 1.1, nor a size, like 200Mi`,
  });
  return z.NEVER;
});

const CLAIMS = {
  killed: z.array(name).transform((containers): MemoryClaim => ({ kind: 'killed', containers })),
  notKilled: names.transform((containers): MemoryClaim => ({ kind: 'notKilled', containers })),
  noKills: z.literal(true, 'write noKills: true').transform((): MemoryClaim => ({ kind: 'noKills' })),
  kills: strict({ atLeast: count.optional(), atMost: count.optional() })
    .refine(
      ({ atLeast, atMost }) => atLeast !== undefined || atMost !== undefined,
      'it claims nothing: write atLeast or atMost',
    )
    .transform(({ atLeast, atMost }): MemoryClaim => ({
      kind: 'kills',
      ...(atLeast !== undefined && { atLeast }),
      ...(atMost !== undefined && { atMost }),
    })),
  killedBy: strict({ container: name, cause: z.enum(['supervisor', 'kernel', 'exit']) }).transform(
    ({ container, cause }): MemoryClaim => ({ kind: 'killedBy', container, cause }),
  ),
  wouldKill: z.array(name).transform((containers): MemoryClaim => ({ kind: 'wouldKill', containers })),
  livesToTheEnd: names.transform((containers): MemoryClaim => ({ kind: 'livesToTheEnd', containers })),
  livesOverRequest: names.transform((containers): MemoryClaim => ({ kind: 'livesOverRequest', containers })),
  totalAtMost: limit.transform((limit): MemoryClaim => ({ kind: 'totalAtMost', limit })),
  killsWithinLooks: z
    .int()
    .min(1)
    .transform((looks): MemoryClaim => ({ kind: 'killsWithinLooks', looks })),
  passedOver: names.transform((containers): MemoryClaim => ({ kind: 'passedOver', containers })),
  reason: strict({ container: name, contains: z.string().min(1) }).transform(
    ({ container, contains }): MemoryClaim => ({
      kind: 'reason',
      container,
      contains,
    }),
  ),
  refused: strict({ container: name.optional(), contains: z.string().min(1) }).transform(
    ({ container, contains }): MemoryClaim => ({
      kind: 'refused',
      ...(container !== undefined && { container }),
      contains,
    }),
  ),
  told: strict({ contains: z.string().min(1) }).transform(({ contains }): MemoryClaim => ({ kind: 'told', contains })),
  reaches: reach('reaches'),
  cannotReach: reach('cannotReach'),
  ...HOST_CLAIMS,
};

const CLAIM_NAMES = Object.keys(CLAIMS) as (keyof typeof CLAIMS)[];

/** What an expectation claims, `{ killed: [leak, batch] }`; with `host`, of that host alone. */
export const claim = strict({
  host: name.optional(),
  killed: CLAIMS.killed.optional(),
  notKilled: CLAIMS.notKilled.optional(),
  noKills: CLAIMS.noKills.optional(),
  kills: CLAIMS.kills.optional(),
  killedBy: CLAIMS.killedBy.optional(),
  wouldKill: CLAIMS.wouldKill.optional(),
  livesToTheEnd: CLAIMS.livesToTheEnd.optional(),
  livesOverRequest: CLAIMS.livesOverRequest.optional(),
  totalAtMost: CLAIMS.totalAtMost.optional(),
  killsWithinLooks: CLAIMS.killsWithinLooks.optional(),
  passedOver: CLAIMS.passedOver.optional(),
  reason: CLAIMS.reason.optional(),
  refused: CLAIMS.refused.optional(),
  told: CLAIMS.told.optional(),
  reaches: CLAIMS.reaches.optional(),
  cannotReach: CLAIMS.cannotReach.optional(),
  classified: CLAIMS.classified.optional(),
  rate: CLAIMS.rate.optional(),
  packets: CLAIMS.packets.optional(),
  vf: CLAIMS.vf.optional(),
  vfsAsBefore: CLAIMS.vfsAsBefore.optional(),
  distinctVfs: CLAIMS.distinctVfs.optional(),
  foreignQdisc: CLAIMS.foreignQdisc.optional(),
})
  .superRefine(exactlyOne(CLAIM_NAMES, 'a claim'))
  .transform(({ host, ...claims }) => ({
    host,
    claim: CLAIM_NAMES.map((each) => claims[each]).find((each) => each !== undefined)!,
  }));

/** Is it about who reaches whom? */
export const isReach = (claim: ClaimWritten): claim is ReachWritten =>
  claim.kind === 'reaches' || claim.kind === 'cannotReach';

/** Is it about a host's way out, or its cards? */
export const isOfHost = (claim: ClaimWritten): claim is HostClaimWritten => Object.hasOwn(HOST_CLAIMS, claim.kind);

/** The containers that a claim names. */
export function containersOf(claim: MemoryClaim): readonly string[] {
  if ('containers' in claim) return claim.containers;
  return 'container' in claim && claim.container !== undefined ? [claim.container] : [];
}
