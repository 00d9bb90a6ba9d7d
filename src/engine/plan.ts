import type { Step } from '../host/steps.ts';

/** Steps that do not depend on each other, so that a host may send each verb's steps as one batch. */
export type Stage = readonly Step[];

/**
 * The order in which a host is changed. Going: `stop` processes, `detach` what they had. Coming: `machine` makes what
 * containers share, `attach` what each has for itself, `start` its processes.
 */
export const PHASES = ['stop', 'detach', 'machine', 'attach', 'start'] as const;
export type Phase = (typeof PHASES)[number];

/** What one subsystem wants done: stages in order within a phase; phases in the order above. */
export type PhasedPlan = Readonly<Partial<Record<Phase, readonly Stage[]>>>;

/** Stages in the order they are taken. */
export type Plan = readonly Stage[];

/** Joins the subsystems' plans: the n-th stages of one phase are independent across subsystems, and become one stage. */
export function mergePlans(plans: readonly PhasedPlan[]): Plan {
  return PHASES.flatMap((phase) => {
    const stages: Step[][] = [];
    for (const plan of plans)
      for (const [index, stage] of (plan[phase] ?? []).entries()) (stages[index] ??= []).push(...stage);
    return stages.filter((stage) => stage.length > 0);
  });
}
