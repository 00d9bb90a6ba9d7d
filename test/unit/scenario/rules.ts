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

/** The same for networks: two hosts, each kind of network once. */
export const NETWORKED = `title: A test
why: To be made wrong.
memory: { hardLimit: 100Mi }
hosts:
  h1: { address: 192.168.77.11/24, mtu: 1400 }
  h2: { uplink: eth7 }
networks:
  blue: { overlay: 10.0.0.0/24, internal: true }
  web: { bridge: 10.1.0.0/24 }
  office: { intranet: 192.168.77.128/25, by: macvlan }
containers:
  c1:
    host: h1
    request: 10Mi
    workload: { constant: 1Mi }
    networks: [blue, { name: web, publish: ['5353:53/udp', '192.168.77.11:8081:81'] }]
  c2:
    host: h2
    request: 10Mi
    workload: { constant: 1Mi }
    networks: [{ name: blue, address: 10.0.0.9 }]
timeline:
  - { at: 1s, do: { attach: { container: c2, network: office } } }
  - { at: 2s, do: { detach: { container: c2, network: office } } }
  - { at: 2s, do: { byHand: { host: h1, remove: { fdbOf: c2 } } } }
  - { at: 4s, do: end }
expectations:
  - text: They reach each other
    that: { reaches: { from: [c1, c2], to: [c1, c2] } }
  - text: Not from outside
    that: { cannotReach: { from: h2, to: c1@web, at: 500ms } }
`;
