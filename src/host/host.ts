import type { Cgroups } from './cgroups.ts';
import type { Clock } from './clock.ts';
import type { Containers } from './containers.ts';
import type { Firewall } from './firewall.ts';
import type { Links } from './links.ts';
import type { Machine } from './machine.ts';
import type { Namespaces } from './namespaces.ts';
import type { Probes } from './probes.ts';
import type { Routing } from './routing.ts';
import type { Shaper } from './shaper.ts';
import type { Store } from './store.ts';
import type { Supervision } from './supervision.ts';
import type { VirtualFunctions } from './virtual-functions.ts';

/** What any host can do, simulated or real: one capability a field, a few verbs each. */
export interface Host {
  readonly name: string;
  readonly clock: Clock;
  readonly machine: Machine;
  readonly cgroups: Cgroups;
  readonly containers: Containers;
  readonly supervision: Supervision;
  readonly namespaces: Namespaces;
  readonly links: Links;
  readonly virtualFunctions: VirtualFunctions;
  readonly routing: Routing;
  readonly firewall: Firewall;
  readonly shaper: Shaper;
  readonly probes: Probes;
  readonly store: Store;
}
