import { checked } from '../memory/checked.ts';
import { PARENT } from '../memory/plan.ts';
import type { Asked } from './asked.ts';
import type { Shared } from '../network/shared.ts';
import { type Observed, planFrom, type Policies } from './planning.ts';
import { targetOf } from '../host/steps.ts';

/** Something that must hold and does not. */
export interface Broken {
  readonly about: string;
  readonly message: string;
}

/** What must hold at every moment, between any two steps. A ceiling may be missing only where the policy wants none. */
export function brokenAlways({ memory, containers }: Observed, policies: Policies): Broken[] {
  const running = containers.filter(({ phase }) => phase === 'running');
  if (running.length === 0) return [];
  const names = running.map(({ name }) => name).join(', ');
  const parent = memory.cgroups.get(PARENT);
  const supervised = memory.supervised.find(({ parent: path }) => path === PARENT);
  const wantsCeiling =
    supervised === undefined || checked(policies(supervised.policy)).limits([], supervised.line).parentBytes !== null;
  return [
    ...(wantsCeiling && parent?.limitBytes == null
      ? [{ about: PARENT, message: `${names} run without a ceiling: if the supervisor dies nothing stops them` }]
      : []),
    ...(supervised !== undefined ? [] : [{ about: PARENT, message: `${names} run without a supervisor` }]),
    ...running
      .filter(({ cgroup }) => !memory.cgroups.has(cgroup))
      .map(({ name, cgroup }) => ({ about: name, message: `runs outside its cgroup ${cgroup}` })),
  ];
}

/** What must hold when nothing is under way: the host is what was asked, nothing leaked and nothing missing. */
export const brokenAtRest = (asked: Asked, shared: Shared, observed: Observed, policies: Policies): Broken[] =>
  planFrom(asked, shared, observed, policies)
    .flat()
    .map((step) => ({ about: targetOf(step), message: `${step.verb} is still to be done: ${step.why}` }));
