import { type CommandPlace, commandOf, USUAL_LAYOUT } from '../../backends/linux/commands.ts';
import { findLayout } from '../../backends/linux/cgroup-layout.ts';
import type { Desired } from '../engine/desired.ts';
import type { Plan } from '../engine/plan.ts';
import type { Step } from '../host/steps.ts';
import type { Scenario } from '../scenario/scenario.ts';
import type { FindPolicy } from './backend/backend.ts';
import { ENTRIES } from './backend/linux.ts';
import { openSim } from './backend/sim.ts';

/** The plan of a scenario's beginning as a script that a shell on a Linux host can run as root. Changes nothing. */
export async function printPlan(scenario: Scenario, policies: FindPolicy): Promise<string> {
  const { backend, engineFor } = openSim({ ...scenario, faults: [] }, policies);
  const lines = [
    '#!/bin/sh',
    `# ${oneLine(scenario.title)}: what its beginning takes, on a host where nothing is yet.`,
    'set -e',
  ];
  for (const { name, memory } of scenario.hosts) {
    const containers = scenario.containers.filter(({ host, fromBeginning }) => host === name && fromBeginning);
    const desired: Desired = { memory, containers };
    const plan = await backend.drive(async () => {
      const engine = engineFor(await backend.connect(name), { sink: () => undefined, zeroMs: 0 });
      return engine.planFor(desired);
    });
    if (scenario.hosts.length > 1) lines.push('', `# ---- host ${name}`);
    lines.push(...scriptOf(plan, { layout: layoutHere(), root: `plimsoll-${name}`, entries: ENTRIES }));
  }
  return `${lines.join('\n')}\n`;
}

/** Steps in order, those with one reason under one comment. */
function scriptOf(plan: Plan, place: CommandPlace): string[] {
  const lines: string[] = [];
  let last: string | undefined;
  for (const step of plan.flat()) {
    const why = `# ${VERB[step.verb]}: ${oneLine(step.why)}`;
    if (why !== last) lines.push('', why);
    last = why;
    lines.push(...commandOf(step, place));
  }
  return lines;
}

const VERB: Readonly<Record<Step['verb'], string>> = {
  'cgroups.create': 'a cgroup',
  'cgroups.limit': 'a limit',
  'cgroups.remove': 'no cgroup',
  'containers.start': 'a container',
  'containers.stop': 'no container',
  'supervision.supervise': 'the supervisor',
  'supervision.release': 'no supervisor',
};

function layoutHere(): CommandPlace['layout'] {
  try {
    return findLayout() ?? USUAL_LAYOUT;
  } catch {
    // No /proc/self/mountinfo: not Linux.
    return USUAL_LAYOUT;
  }
}

const oneLine = (text: string): string => text.replaceAll(/\s+/g, ' ').trim();
