import { type CommandPlace, commandOf, USUAL_LAYOUT } from '../../backends/linux/commands.ts';
import { findLayout } from '../../backends/linux/cgroup-layout.ts';
import type { Desired } from '../engine/desired.ts';
import type { Plan } from '../engine/plan.ts';
import type { Step } from '../host/steps.ts';
import type { StoreEntry } from '../host/store.ts';
import { SHARED_PREFIXES } from '../network/shared.ts';
import { asked } from '../scenario/host-run.ts';
import type { Scenario, ScenarioHost } from '../scenario/scenario.ts';
import type { FindPolicy, OpenBackend } from './backend/backend.ts';
import { ENTRIES } from './backend/linux.ts';
import { openSim } from './backend/sim.ts';

/** The plan of a scenario's beginning as a script that a shell on a Linux host can run as root. Changes nothing. */
export async function printPlan(scenario: Scenario, policies: FindPolicy): Promise<string> {
  const lines = [
    '#!/bin/sh',
    `# ${oneLine(scenario.title)}: what its beginning takes, on a host where nothing is yet.`,
    'set -e',
  ];
  for (const [name, plan] of await plansOf({ ...scenario, faults: [] }, policies)) {
    const host = scenario.hosts.find((each) => each.name === name)!;
    if (scenario.hosts.length > 1) lines.push('', `# ---- host ${name}${uplinkText(host)}`);
    lines.push(...scriptOf(plan, { layout: layoutHere(), root: `plimsoll-${name}`, entries: ENTRIES }));
  }
  return `${lines.join('\n')}\n`;
}

const uplinkText = ({ uplink }: ScenarioHost): string =>
  uplink === undefined ? '' : `, whose link ${uplink.link} to the others has ${uplink.prefix}`;

/**
 * The plan of each host. What hosts tell each other they must have told before anybody can plan: so all is done once in
 * one simulation, and planned in another, where only what they share is known.
 */
async function plansOf(scenario: Scenario, policies: FindPolicy): Promise<[string, Plan][]> {
  const [first, second] = [openSim(scenario, policies), openSim(scenario, policies)];
  const desiredOf = ({ name, memory, network, egress }: ScenarioHost): Desired => ({
    memory,
    ...(network !== undefined && { network }),
    ...(egress !== undefined && { egress }),
    containers: scenario.containers.filter(({ host, fromBeginning }) => host === name && fromBeginning).map(asked),
  });
  const connect = async ({ backend, engineFor }: OpenBackend, name: string) => {
    const host = await backend.connect(name);
    return { host, engine: engineFor(host, { sink: () => undefined, zeroMs: 0 }) };
  };
  const shared = await first.backend.drive(async () => {
    const entries: StoreEntry[] = [];
    for (const [index, each] of scenario.hosts.entries()) {
      const { host, engine } = await connect(first, each.name);
      await engine.ask(desiredOf(each));
      if (index === scenario.hosts.length - 1)
        for (const prefix of SHARED_PREFIXES) entries.push(...(await host.store.read(prefix)));
    }
    return entries;
  });
  return second.backend.drive(async () => {
    const plans: [string, Plan][] = [];
    for (const each of scenario.hosts) {
      const { host, engine } = await connect(second, each.name);
      if (plans.length === 0) await host.store.commit({ put: shared });
      plans.push([each.name, await engine.planFor(desiredOf(each))]);
    }
    return plans;
  });
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
  'namespaces.create': 'a network namespace',
  'namespaces.remove': 'no network namespace',
  'links.create': 'a link',
  'links.set': 'a link',
  'links.move': 'a link elsewhere',
  'links.remove': 'no link',
  'virtualFunctions.enable': 'virtual functions',
  'virtualFunctions.set': 'a virtual function',
  'virtualFunctions.bind': 'a driver for a virtual function',
  'virtualFunctions.unbind': 'no driver for a virtual function',
  'routing.add': 'routing',
  'routing.remove': 'no routing',
  'routing.announce': 'news of an address',
  'firewall.apply': 'the packet filter',
  'shaper.add': 'shaping',
  'shaper.remove': 'no shaping',
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
