import { HostError } from '../../src/host/errors.ts';
import type { Namespaces } from '../../src/host/namespaces.ts';
import { inOrder } from './batch.ts';
import { unlink } from './link-life.ts';
import type { HostNetwork } from './network.ts';

/** What can be a file's name under /run/netns. */
const NAME = /^(?!\.{1,2}$)[\w.-]{1,255}$/;

/** Network namespaces of the model. */
export const createNamespaces = (host: HostNetwork): Namespaces => ({
  create: (names) =>
    inOrder(names, (name) => {
      check(name, 'namespaces.create');
      if (!host.spaces.has(name)) host.addSpace(name);
    }),
  remove: (names) =>
    inOrder(names, (name) => {
      check(name, 'namespaces.remove');
      const space = host.spaces.get(name);
      if (space === undefined) return;
      for (const link of space.links.values()) if (link.type !== 'other') unlink(link);
      host.nics.giveBack(space);
      host.spaces.delete(name);
      host.network.changed();
    }),
  list: async () => [...host.spaces.keys()].filter((name) => name !== '').sort(),
});

/** @throws HostError EINVAL */
function check(name: string, operation: string): void {
  if (!NAME.test(name))
    throw new HostError('EINVAL', operation, name, { detail: 'a namespace is named by letters, digits, -, _ and .' });
}
