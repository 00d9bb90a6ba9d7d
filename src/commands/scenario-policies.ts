import { dirname, resolve } from 'node:path';
import type { PolicyReference } from '../host/supervision.ts';
import type { MemoryPolicy } from '../memory/policy.ts';
import { policiesOf, withFiles, withPolicies } from '../scenario/policy.ts';
import type { Scenario } from '../scenario/scenario.ts';
import type { FindPolicy } from './backend/backend.ts';
import { loadPolicy } from './policy.ts';

/** A scenario whose policies are loaded, and can be found again from anywhere. */
interface Prepared {
  readonly scenario: Scenario;
  readonly policies: FindPolicy;
  /** What stands in for every policy of the scenario: a name, or the absolute path of a file. */
  readonly policyOverride: string | undefined;
}

/** Loads the policies of a scenario, or one `instead` of them all. Files are named from the scenario's folder. @throws PolicyError */
export async function loadPoliciesOf(scenario: Scenario, instead: string | undefined): Promise<Prepared> {
  const absolute = (file: string): string => resolve(dirname(scenario.file), file);
  const loaded = new Map<string, MemoryPolicy>();
  const load = async (nameOrPath: string): Promise<PolicyReference> => {
    const { policy, reference } = await loadPolicy(nameOrPath);
    loaded.set(keyOf(reference), policy);
    return reference;
  };
  const override = instead === undefined ? undefined : await load(instead);
  const references = new Map<string, PolicyReference>();
  for (const own of policiesOf(scenario))
    references.set(keyOf(own), override ?? (await load(own.file === undefined ? own.name : absolute(own.file))));
  return {
    scenario: {
      ...withPolicies(scenario, (own) => references.get(keyOf(own))!),
      written: withFiles(scenario.written, absolute),
    },
    policies: (reference) => loaded.get(keyOf(reference))!,
    policyOverride: override && keyOf(override),
  };
}

const keyOf = ({ name, file }: PolicyReference): string => file ?? name;
