import { closeSync } from 'node:fs';
import type { NamespaceName } from '../../src/host/namespaces.ts';
import { errnoOf } from './errors.ts';
import { IFLA, linkHeader, type LinkRecord, RTM_DELLINK, RTM_SETLINK } from './link-message.ts';
import { Attributes, u32 } from './netlink-codec.ts';
import { Conversations, type Netlink } from './netlink.ts';
import { type NetworkRoot, openNamespace } from './netns.ts';
import { Pace } from './pace.ts';

/**
 * Links that are about to go are put into this group and deleted by one request: deleting a thousand one by one takes
 * 17 ms each, the group 243 ms. Any number will do that nobody else uses; these are the letters `plim`.
 */
const GOING = 0x70_6c_69_6d;

// include/uapi/linux/net_namespace.h
const RTM_GETNSID = 90;
const NETNSA_NSID = 1;
const NETNSA_FD = 3;

/** Links of one namespace that are to go. */
export interface Going {
  readonly namespace: NamespaceName;
  readonly links: readonly LinkRecord[];
}

/**
 * Deletes links, many at a time. A veth goes by its end in the host's own namespace where it has one there: so that one
 * request takes those of a thousand namespaces.
 */
export async function deleteLinks(root: NetworkRoot, going: readonly Going[]): Promise<void> {
  const conversations = new Conversations(root);
  const hostFd = openNamespace(root.pathOf(''));
  const pace = new Pace();
  try {
    const ofHost = new Set<number>();
    for (const { namespace, links } of going) {
      if (namespace === '') for (const { index } of links) ofHost.add(index);
      if (namespace === '' || links.length === 0) continue;
      const netlink = conversations.ifThere(namespace);
      if (netlink === null) continue;
      const host = numberOf(netlink, hostFd);
      const isVethToHost = ({ type, linkNamespace }: LinkRecord): boolean => type === 'veth' && host === linkNamespace;
      for (const { link } of links.filter(isVethToHost)) if (link !== undefined) ofHost.add(link);
      await deleteAll(
        netlink,
        links.filter((link) => !isVethToHost(link)).map(({ index }) => index),
        pace,
      );
      await pace.keep();
    }
    await deleteAll(conversations.with(''), [...ofHost], pace);
  } finally {
    closeSync(hostFd);
    conversations.close();
  }
}

async function deleteAll(netlink: Netlink, indexes: readonly number[], pace: Pace): Promise<void> {
  if (indexes.length === 0) return;
  if (indexes.length === 1)
    return passOverGone(() => netlink.requestAside(RTM_DELLINK, [linkHeader({ index: indexes[0]! })]));
  for (const index of indexes) {
    await passOverGone(() => netlink.request(RTM_SETLINK, 0, [linkHeader({ index }), u32(IFLA.group, GOING)]));
    await pace.keep();
  }
  await passOverGone(() => netlink.requestAside(RTM_DELLINK, [linkHeader(), u32(IFLA.group, GOING)]));
}

/** What went away meanwhile is where it should be. */
async function passOverGone(act: () => void | Promise<void>): Promise<void> {
  try {
    await act();
  } catch (error) {
    if (errnoOf(error) !== 'ENODEV') throw error;
  }
}

/** The number by which one namespace knows another; -1: it knows none. */
function numberOf(netlink: Netlink, fd: number): number {
  const body = netlink.get(RTM_GETNSID, [Buffer.alloc(4), u32(NETNSA_FD, fd)]);
  return new Attributes(body, 4).bytes(NETNSA_NSID)?.readInt32LE() ?? -1;
}
