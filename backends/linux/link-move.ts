import { closeSync } from 'node:fs';
import type { LinkMove } from '../../src/host/links.ts';
import { Refusal } from './errors.ts';
import { IFLA, linkHeader, type LinkRecord, RTM_SETLINK } from './link-message.ts';
import { checkName, getIfThere } from './link-name.ts';
import { text, u32 } from './netlink-codec.ts';
import type { Conversations, Netlink } from './netlink.ts';
import { type NetworkRoot, openNamespace } from './netns.ts';

// include/uapi/linux/rtnetlink.h, if_addr.h
const RTM_DELADDR = 21;
const RTM_GETADDR = 22;
const ADDRESS_HEADER_BYTES = 8;

/** Takes a link elsewhere, by a request that names both where and as what. @throws Refusal */
export function moveLink(root: NetworkRoot, conversations: Conversations, { namespace, name, to }: LinkMove): void {
  checkName(to.name);
  const there = find(conversations, to.namespace, to.name);
  const here = find(conversations, namespace, name);
  if (here === undefined) {
    if (there !== undefined) return;
    throw new Refusal('ENODEV', 'it is neither here nor there', undefined);
  }
  if (namespace === to.namespace && name === to.name) return;
  // The kernel looks at the name it is to have only after it has moved it under the one it has (do_setlink in
  // net/core/rtnetlink.c), and would leave it there.
  if (there !== undefined) throw new Refusal('EEXIST', `another link is called ${to.name} there`, undefined);
  const netlink = conversations.with(namespace);
  const index = here.index;
  if (namespace === to.namespace) {
    netlink.request(RTM_SETLINK, 0, [linkHeader({ index, up: false })]);
    removeAddresses(netlink, index);
    netlink.request(RTM_SETLINK, 0, [linkHeader({ index }), text(IFLA.ifname, to.name)]);
    return;
  }
  // A link that leaves goes down, and its addresses with it (__dev_change_net_namespace in net/core/dev.c).
  const fd = openNamespace(root.pathOf(to.namespace));
  try {
    netlink.request(RTM_SETLINK, 0, [linkHeader({ index }), u32(IFLA.netNsFd, fd), text(IFLA.ifname, to.name)]);
  } finally {
    closeSync(fd);
  }
}

const find = (conversations: Conversations, namespace: string, name: string): LinkRecord | undefined => {
  const netlink = conversations.ifThere(namespace);
  return netlink === null ? undefined : getIfThere(netlink, name)[0];
};

/** What a dump tells of an address is what a request names it by. */
function removeAddresses(netlink: Netlink, index: number): void {
  const ofLink = netlink.dump(RTM_GETADDR, [Buffer.alloc(ADDRESS_HEADER_BYTES)], (body) =>
    body.readUInt32LE(4) === index ? Buffer.from(body) : undefined,
  );
  for (const address of ofLink) netlink.request(RTM_DELADDR, 0, [address]);
}
