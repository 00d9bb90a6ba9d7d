import { z } from 'zod';
import { VF } from './by-hand-fields.ts';
import { duration, exactlyOne, name, period, rate, strict } from './fields.ts';
import { KNOBS, linkName, mac, PAYLOAD_MAX_BYTES } from './network-fields.ts';

const end = z.string().min(1);

const claimsSomething = ({ atLeast, atMost }: { atLeast?: number | undefined; atMost?: number | undefined }): boolean =>
  atLeast !== undefined || atMost !== undefined;

/** `{ from: a, to: outside, as: a }`: in which class of its host's uplink what `a` sends is counted. */
const classified = strict({
  from: end,
  to: end,
  as: name,
  markedAs: name.optional(),
  at: duration.optional(),
}).transform((written) => ({ ...written, kind: 'classified' as const }));

/** `{ from: a, to: outside, atLeast: 9Mbit, for: 2s }`; whatever is measured at one time is sent at one time. */
const measured = strict({
  from: end,
  to: end,
  protocol: z.enum(['tcp', 'udp']).default('udp'),
  atLeast: rate.optional(),
  atMost: rate.optional(),
  sends: rate.optional(),
  at: duration.optional(),
  for: period,
})
  .refine(claimsSomething, 'it claims nothing: write atLeast or atMost')
  .refine(
    ({ sends, protocol }) => sends === undefined || protocol === 'udp',
    'a TCP stream goes as fast as it goes: leave sends out',
  )
  .transform((written) => ({ ...written, kind: 'rate' as const }));

/** `{ from: a, to: outside, payload: 64, atLeast: 100000, for: 2s }`: datagrams a second that arrive, sent as fast as it goes. */
const packets = strict({
  from: end,
  to: end,
  payload: z.int().min(1).max(PAYLOAD_MAX_BYTES).default(64),
  atLeast: z.number().positive().optional(),
  atMost: z.number().positive().optional(),
  at: duration.optional(),
  for: period,
})
  .refine(claimsSomething, 'it claims nothing: write atLeast or atMost')
  .transform((written) => ({ ...written, kind: 'packets' as const }));

/** A container's VF, or one of a card by its number; what is not said of it is not asked. */
const vf = strict({
  container: name.optional(),
  network: name.optional(),
  pf: VF.pf.optional(),
  index: VF.index.optional(),
  host: name.optional(),
  ...KNOBS,
  mac: z.union([z.literal('lease'), mac], 'no MAC address: write one, or lease').optional(),
  in: end.optional(),
  at: duration.optional(),
})
  .superRefine(exactlyOne(['container', 'pf'], 'whose VF it is'))
  .refine(
    ({ pf, index }) => (pf === undefined) === (index === undefined),
    'a VF of a card is written { pf: ens1, index: 0 }',
  )
  .refine(
    ({ mac: address, container }) => address !== 'lease' || container !== undefined,
    'only a container has a lease',
  )
  .transform((written) => ({ ...written, kind: 'vf' as const }));

/** As at the beginning, or as at a time, `{ since: 1s }`; of one card alone, or of all. */
const vfsAsBefore = strict({
  host: name.optional(),
  pf: linkName.optional(),
  since: duration.optional(),
  at: duration.optional(),
}).transform((written) => ({ ...written, kind: 'vfsAsBefore' as const }));

const distinctVfs = strict({ host: name.optional(), pf: linkName.optional() }).transform((written) => ({
  ...written,
  kind: 'distinctVfs' as const,
}));

/** That somebody else's root qdisc is there. */
const foreignQdisc = strict({
  host: name.optional(),
  dev: linkName,
  handle: z.string().min(2),
  at: duration.optional(),
}).transform((written) => ({ ...written, kind: 'foreignQdisc' as const }));

/** What is claimed of a host's way out, and of its cards, before the names are looked up. */
export const HOST_CLAIMS = { classified, rate: measured, packets, vf, vfsAsBefore, distinctVfs, foreignQdisc };
export type HostClaimWritten = {
  [K in keyof typeof HOST_CLAIMS]: z.infer<(typeof HOST_CLAIMS)[K]>;
}[keyof typeof HOST_CLAIMS];
