import { MARKS } from '../../egress/picture.ts';
import { readAsked } from '../../engine/asked.ts';
import type { Host } from '../../host/host.ts';
import { minorOf } from '../../host/shaper.ts';
import type { Store } from '../../host/store.ts';
import { endpointOf } from '../../network/names.ts';
import type { Bystander } from '../../scenario/run.ts';

/** What only the product's own parts can tell of a host. */
export const insightInto = (
  host: string,
  { firewall, links }: Pick<Host, 'firewall' | 'links'>,
  store: () => Store,
): Pick<Bystander, 'classes' | 'held'> => ({
  async classes() {
    const owners = new Map(
      (await links.list([''])).flatMap(({ name, alias }) => {
        const endpoint = endpointOf(alias);
        return endpoint === null ? [] : [[name, endpoint.container] as const];
      }),
    );
    const { elements } = await firewall.read();
    return new Map(
      elements.flatMap(({ set, key, value }) => {
        const owner = set === MARKS ? owners.get(key.split(' . ')[0]!) : undefined;
        const minor = value === undefined ? null : minorOf(value);
        return owner === undefined || minor === null ? [] : [[owner, minor] as const];
      }),
    );
  },
  held: async () => (await readAsked(store(), host)).held.vfs,
});
