import { PHASES, type PhasedPlan, type Stage, type Step } from '../host/steps.ts';

/** Stages in the order they are taken. */
export type Plan = readonly Stage[];

/** Joins the subsystems' plans: the n-th stages of one phase are independent across subsystems, and become one stage. */
export function mergePlans(plans: readonly PhasedPlan[]): Plan {
  return PHASES.flatMap((phase) => {
    const stages: Step[][] = [];
    for (const plan of plans) {
      for (const [index, stage] of (plan[phase] ?? []).entries()) (stages[index] ??= []).push(...stage);
    }
    return stages.filter((stage) => stage.length > 0);
  });
}
