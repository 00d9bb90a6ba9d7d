import { HostError, type Errno } from '../../src/host/errors.ts';
import { elementKey, type Firewall, type FirewallChange, type FirewallElement } from '../../src/host/firewall.ts';
import { AddressError } from '../../src/host/ipv4.ts';
import { inOrder } from './batch.ts';
import { layFrame, setName } from './filter.ts';
import type { HostNetwork } from './network.ts';
import { elementsOf, type NamedSet } from './sets.ts';

/** The packet filter of a simulated host. */
export const createFirewall = (host: HostNetwork): Firewall => ({
  apply: (changes) => inOrder(changes, (change) => apply(host, change)),
  read: async () => ({
    frame: host.filter?.lines ?? null,
    elements: host.filter === null ? [] : elementsOf(host.filter.sets.values()),
  }),
});

/** All of a change is tried on the side, or checked, before any of it is made. */
function apply(host: HostNetwork, { frame, add, remove }: FirewallChange): void {
  const filter = frame === undefined ? host.filter : frame === null ? null : layFrame(host.network, frame);
  for (const element of remove) checked(element, filter, (set) => set.check(element, 'remove'));
  for (const element of add) checked(element, filter, (set) => set.check(element, 'add'));
  for (const { family, set, key } of remove) filter!.sets.get(setName(family, set))!.remove(key);
  for (const element of add) filter!.sets.get(setName(element.family, element.set))!.add(element);
  host.filter = filter;
  host.network.changed();
}

const refusal = (code: Errno, target: string, detail: string): HostError =>
  new HostError(code, 'firewall.apply', target, { detail });

function checked(element: FirewallElement, filter: HostNetwork['filter'], check: (set: NamedSet) => void): void {
  const set = filter?.sets.get(setName(element.family, element.set));
  if (set === undefined)
    throw refusal('ENOENT', elementKey(element), `there is no ${element.family} set or map "${element.set}"`);
  try {
    check(set);
  } catch (error) {
    if (error instanceof AddressError) throw refusal('EINVAL', elementKey(element), error.message);
    throw error;
  }
}
