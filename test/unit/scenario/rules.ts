import { checkFault } from '../../../backends/sim/faults.ts';
import { checkNetworks, networkNames } from '../../../src/commands/network-rules.ts';
import { resolveLine } from '../../../src/memory/line.ts';
import { policyNames } from '../../../src/memory/policies.ts';
import type { Rules } from '../../../src/scenario/scenario.ts';

/** The product's own parts, as the commands give them. */
export const rules: Rules = { policies: policyNames, resolveLine, checkFault, checkNetworks, networkNames };

/** A scenario that is right, one thing a line, so that a test can make one line wrong. */
export const GOOD = `title: A test
why: To be made wrong.
memory:
  policy: gaia
  hardLimit: 100Mi
  killAt: 1.05
containers:
  web:
    request: 40Mi
    workload: { constant: 30Mi }
  late:
    request: 20Mi
    workload: { leak: { from: 1Mi, perSecond: 2Mi } }
timeline:
  - { at: 1s, do: { start: late } }
  - { at: 2s, do: { request: { container: web, to: 50Mi } } }
  - { at: 3s, do: end }
expectations:
  - text: Nobody dies
    that: { noKills: true }
`;
