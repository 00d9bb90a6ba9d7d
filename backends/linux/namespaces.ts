import { writeFileSync } from 'node:fs';
import type { Applied } from '../../src/host/batch.ts';
import type { NamespaceName, Namespaces } from '../../src/host/namespaces.ts';
import { hostError, inOrder, isAbsent, Refusal } from './errors.ts';
import { dumpLinks, IFLA, linkHeader, RTM_SETLINK } from './link-message.ts';
import { deleteLinks, type Going } from './link-removal.ts';
import { text } from './netlink-codec.ts';
import { Conversations, Netlink } from './netlink.ts';
import { dropNamespace, isName, makeNamespace, type NetworkRoot } from './netns.ts';
import { inTurns, Pace } from './pace.ts';

/** The network namespaces of one host, files under /run/netns as iproute2 makes them. */
export const linuxNamespaces = (root: NetworkRoot): Namespaces => ({
  create: (names) =>
    inTurns(
      names,
      'namespaces.create',
      (name) => name,
      (name) => {
        checkOurs(name);
        makeNamespace(root.pathOf(name), setUpNamespace);
      },
    ),
  remove: (names) => removeNamespaces(root, names),
  list: async () => {
    try {
      return root.names();
    } catch (error) {
      throw hostError('namespaces.list', root.mark, error);
    }
  },
});

/** Removes them, links first: what a dying namespace holds goes when the kernel finds the time. */
async function removeNamespaces(root: NetworkRoot, names: readonly NamespaceName[]): Promise<Applied> {
  const checked = await inOrder(
    names,
    'namespaces.remove',
    (name) => name,
    (name) => checkOurs(name),
  );
  const good = names.slice(0, checked.applied);
  try {
    await removeLinksOf(root, good);
  } catch (error) {
    return { applied: 0, error: hostError('namespaces.remove', good[0] ?? '', error) };
  }
  const removed = await inTurns(
    good,
    'namespaces.remove',
    (name) => name,
    (name) => dropNamespace(root.pathOf(name)),
  );
  return removed.error === undefined ? checked : removed;
}

/** Deletes all links of these namespaces but `lo` and what the machine has lent them, which goes home by itself. */
export async function removeLinksOf(root: NetworkRoot, names: readonly NamespaceName[]): Promise<void> {
  const conversations = new Conversations(root);
  const pace = new Pace();
  const going: Going[] = [];
  try {
    for (const namespace of names) {
      const netlink = conversations.ifThere(namespace);
      if (netlink === null) continue;
      going.push({ namespace, links: dumpLinks(netlink).filter(({ isVirtual }) => isVirtual) });
      await pace.keep();
    }
  } finally {
    conversations.close();
  }
  await deleteLinks(root, going);
}

function checkOurs(name: NamespaceName): void {
  if (!isName(name))
    throw new Refusal('EINVAL', 'a network namespace is named with letters, digits, "-", "_" and "."', undefined);
}

/** Run inside a new namespace, which begins with the settings of the machine's own (net.core.devconf_inherit_init_net). */
export function setUpNamespace(): void {
  setting('ipv4/conf/all/forwarding', '0');
  setting('ipv4/conf/default/forwarding', '0');
  // Removing an address must not take the others of its network along.
  setting('ipv4/conf/all/promote_secondaries', '1');
  for (const which of ['all', 'default']) {
    try {
      setting(`ipv6/conf/${which}/disable_ipv6`, '1');
    } catch (error) {
      // A kernel without IPv6.
      if (!isAbsent(error)) throw error;
    }
  }
  const netlink = new Netlink();
  try {
    netlink.request(RTM_SETLINK, 0, [linkHeader({ up: true }), text(IFLA.ifname, 'lo')]);
  } finally {
    netlink.close();
  }
}

const setting = (file: string, value: string): void => writeFileSync(`/proc/sys/net/${file}`, value);
