import { z } from 'zod';
import type { Milliseconds } from '../host/units.ts';
import { byHand } from './by-hand-fields.ts';
import { claim } from './claims.ts';
import { egress, egressChange, hostEgress } from './egress-fields.ts';
import { duration, errno, exactlyOne, factor, kindOf, name, named, period, rate, size, strict } from './fields.ts';
import { attach, attachment, linkName, mtu, network, prefix } from './network-fields.ts';
import { BACKENDS, type ScenarioFault } from './scenario.ts';
import { workload } from './workload.ts';

const text = z.string().trim().min(1, 'it is empty: say it in a sentence');
const backends = z.array(z.enum(BACKENDS)).min(1);

const MEMORY = {
  policy: z.string().min(1),
  hardLimit: size,
  killAt: factor,
  stopAt: factor,
  ceiling: factor,
  lookEvery: period,
  dry: z.boolean(),
};

/** Every setting of memory on its own may be left out: hosts and the timeline change some of them. */
const memory = strict(MEMORY).partial();
export type MemoryWritten = z.infer<typeof memory>;

const nic = strict({
  driver: z.string().min(1).optional(),
  totalVfs: z.int().min(1).max(256).optional(),
  speed: rate.optional(),
});

const host = strict({
  ram: size.optional(),
  cpus: z.int().min(1).max(4096).optional(),
  cgroup: z.literal([1, 2], 'cgroup is 1 or 2, the version of the memory controller').optional(),
  memory: memory.optional(),
  address: prefix.optional(),
  mtu: mtu.optional(),
  uplink: linkName.optional(),
  egress: hostEgress.optional(),
  nics: named(nic).optional(),
});

const container = strict({
  host: name.optional(),
  request: size,
  workload,
  priority: z.int().optional(),
  networks: z.array(attachment).min(1, 'it is empty: leave it out for the network of the host').optional(),
  egress: egress.optional(),
});

const ACTIONS = {
  start: name,
  stop: name,
  request: strict({ container: name, to: size }),
  memory: strict({ host: name.optional(), ...MEMORY }).partial(),
  crash: strict({ host: name.optional(), restartAfter: duration }),
  attach,
  detach: strict({ container: name, network: name }),
  egress: egressChange,
  hostDown: strict({ host: name.optional() }),
  hostUp: strict({ host: name.optional() }),
  byHand,
};

const action = strict(ACTIONS)
  .partial()
  .superRefine(exactlyOne(Object.keys(ACTIONS) as (keyof typeof ACTIONS)[], '"do"'));

const entry = strict({
  at: duration,
  mayBeRefused: z.literal(true, 'write mayBeRefused: true, or leave it out').optional(),
  do: z.unknown().transform((written, context): 'end' | z.infer<typeof action> => {
    if (written === 'end') return 'end';
    if (typeof written !== 'object' || written === null || Array.isArray(written)) {
      context.addIssue({
        code: 'custom',
        message: `${kindOf(written)} is nothing to do: write end, or one of ${Object.keys(ACTIONS).join(', ')} with what it is done to`,
      });
      return z.NEVER;
    }
    const result = action.safeParse(written, { error: inWords });
    if (result.success) return result.data;
    for (const issue of result.error.issues) context.issues.push({ ...issue, input: written } as never);
    return z.NEVER;
  }),
});

const fault = strict({
  host: name.optional(),
  on: z.string(),
  at: duration.optional(),
  nth: z.int().min(1).optional(),
  times: z.int().min(1).optional(),
  chance: z.number().min(0).max(1).optional(),
  do: strict({ fail: errno.optional(), delay: duration.optional(), crash: z.enum(['before', 'after']).optional() })
    .superRefine(exactlyOne(['fail', 'delay', 'crash'], 'what a fault does'))
    .transform(({ fail, delay, crash }): ScenarioFault['do'] => {
      if (fail !== undefined) return { fail };
      return crash === undefined ? { delayMs: delay as Milliseconds } : { crash };
    }),
  after: z.int().min(0).optional(),
}).transform(({ at, ...rest }) => ({ ...rest, ...(at !== undefined && { atMs: at }) }) as ScenarioFault);

const expectation = strict({
  text,
  that: claim,
  backends: backends.optional(),
  policies: z.array(z.string().min(1)).min(1).optional(),
});

/** A scenario file as people write it. */
export const scenarioSchema = strict({
  title: text,
  why: text,
  seed: z.int().min(0).default(1),
  backends: backends.optional(),
  memory: memory.optional(),
  hosts: named(host).optional(),
  networks: named(network).optional(),
  egress: hostEgress.optional(),
  containers: named(container),
  timeline: z.array(entry).min(1, 'it is empty: it needs at least { at: 10s, do: end }'),
  faults: z.array(fault).optional(),
  expectations: z.array(expectation).optional(),
});

export type ScenarioWritten = z.infer<typeof scenarioSchema>;

/** What zod has to say, said for people; undefined leaves it as zod says it. */
export function inWords(issue: z.core.$ZodRawIssue): string | undefined {
  // oxlint-disable-next-line typescript/switch-exhaustiveness-check -- the rest is well said by zod, or by the schema itself
  switch (issue.code) {
    case 'invalid_type':
      return issue.input === undefined
        ? `it is missing: ${WANTED[issue.expected] ?? issue.expected} is wanted`
        : `${kindOf(issue.input)} is not ${WANTED[issue.expected] ?? issue.expected}`;
    case 'invalid_value':
      return `${kindOf(issue.input)} is none of ${issue.values.join(', ')}`;
    case 'invalid_key':
      return issue.issues[0]?.message;
    case 'too_small':
      return issue.origin === 'array' || issue.origin === 'string'
        ? undefined
        : `${kindOf(issue.input)} is less than ${issue.minimum}`;
    case 'too_big':
      return issue.origin === 'array' || issue.origin === 'string'
        ? undefined
        : `${kindOf(issue.input)} is more than ${issue.maximum}`;
    default:
      return undefined;
  }
}

const WANTED: Readonly<Record<string, string>> = {
  string: 'a text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  array: 'a list',
  object: 'a map',
  record: 'a map of names',
  tuple: 'a pair like [0s, 10Mi]',
};
