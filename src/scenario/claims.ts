import { z } from 'zod';
import { type Bytes, parseBytes, UnitError } from '../host/units.ts';
import { exactlyOne, kindOf, name, strict } from './fields.ts';
import type { Claim } from './scenario.ts';

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
  killed: z.array(name).transform((containers): Claim => ({ kind: 'killed', containers })),
  notKilled: names.transform((containers): Claim => ({ kind: 'notKilled', containers })),
  noKills: z.literal(true, 'write noKills: true').transform((): Claim => ({ kind: 'noKills' })),
  kills: strict({ atLeast: count.optional(), atMost: count.optional() })
    .refine(
      ({ atLeast, atMost }) => atLeast !== undefined || atMost !== undefined,
      'it claims nothing: write atLeast or atMost',
    )
    .transform(({ atLeast, atMost }): Claim => ({
      kind: 'kills',
      ...(atLeast !== undefined && { atLeast }),
      ...(atMost !== undefined && { atMost }),
    })),
  killedBy: strict({ container: name, cause: z.enum(['supervisor', 'kernel', 'exit']) }).transform(
    ({ container, cause }): Claim => ({ kind: 'killedBy', container, cause }),
  ),
  wouldKill: z.array(name).transform((containers): Claim => ({ kind: 'wouldKill', containers })),
  livesToTheEnd: names.transform((containers): Claim => ({ kind: 'livesToTheEnd', containers })),
  livesOverRequest: names.transform((containers): Claim => ({ kind: 'livesOverRequest', containers })),
  totalAtMost: limit.transform((limit): Claim => ({ kind: 'totalAtMost', limit })),
  killsWithinLooks: z
    .int()
    .min(1)
    .transform((looks): Claim => ({ kind: 'killsWithinLooks', looks })),
  passedOver: names.transform((containers): Claim => ({ kind: 'passedOver', containers })),
  reason: strict({ container: name, contains: z.string().min(1) }).transform(({ container, contains }): Claim => ({
    kind: 'reason',
    container,
    contains,
  })),
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
})
  .superRefine(exactlyOne(CLAIM_NAMES, 'a claim'))
  .transform(({ host, ...claims }) => ({
    host,
    claim: CLAIM_NAMES.map((each) => claims[each]).find((each) => each !== undefined)!,
  }));

/** The containers that a claim names. */
export function containersOf(claim: Claim): readonly string[] {
  if ('containers' in claim) return claim.containers;
  return 'container' in claim ? [claim.container] : [];
}
