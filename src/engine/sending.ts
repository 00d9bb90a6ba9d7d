import type { HostError } from '../host/errors.ts';
import type { Host } from '../host/host.ts';
import { SEND, type Step, targetOf, type Verb } from '../host/steps.ts';
import { PARENT } from '../memory/plan.ts';
import type { Asked } from './asked.ts';
import type { Observed } from './planning.ts';
import type { SetAside } from './set-aside.ts';

/** What acting on a plan needs to know, and what it leaves undone. */
export interface Acting {
  readonly asked: Asked;
  readonly observed: Observed;
  readonly putOff: Set<string>;
  readonly setAside: SetAside;
}

/** Sends steps of one verb as one batch. */
export const send = (host: Host, verb: Verb, steps: readonly Step[]) =>
  // Each step of a group carries what its verb takes: TypeScript cannot follow that through the grouping.
  (SEND[verb] as (host: Host, batch: readonly Step['with'][]) => ReturnType<(typeof SEND)[Verb]>)(
    host,
    steps.map((step) => step.with),
  );

/** A limit that usage does not fit under yet can wait; but nothing goes on where there is no ceiling at all. */
export const isTooEarly = (step: Step, { code }: HostError, { memory }: Observed): boolean =>
  step.verb === 'cgroups.limit' &&
  code === 'EBUSY' &&
  (step.with.path !== PARENT || memory.cgroups.get(PARENT)?.limitBytes != null);

/** A step as one string: what is done, and on what. */
export const keyOf = (step: Step): string => `${step.verb} ${targetOf(step)}`;
