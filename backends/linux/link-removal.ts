import { randomInt } from 'node:crypto';
import { closeSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';
import type { NamespaceName } from '../../src/host/namespaces.ts';
import { errnoOf } from './errors.ts';
import { IFLA, linkHeader, type LinkRecord, RTM_DELLINK, RTM_GETLINK, RTM_SETLINK } from './link-message.ts';
import { Attributes, u32 } from './netlink-codec.ts';
import { Conversations, Netlink } from './netlink.ts';
import { type NetworkRoot, openNamespace } from './netns.ts';
import { Pace } from './pace.ts';

/** Group 0 is everybody's; the highest that the kernel takes. */
const GROUP_MAX = 0x7fff_ffff;

/** How often it is looked whether they have gone: one link takes 1.5 ms. */
const LOOK_MS = 1;

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
      const isVethToHost = ({ type, linkNamespace }: LinkRecord): boolean =>
        type === 'veth' && host >= 0 && host === linkNamespace;
      for (const { link } of links.filter(isVethToHost)) if (link !== undefined) ofHost.add(link);
      await deleteAll(
        root,
        namespace,
        links.filter((link) => !isVethToHost(link)).map(({ index }) => index),
        pace,
      );
      await pace.keep();
    }
    await deleteAll(root, '', [...ofHost], pace);
  } finally {
    closeSync(hostFd);
    conversations.close();
  }
}

async function deleteAll(
  root: NetworkRoot,
  namespace: NamespaceName,
  indexes: readonly number[],
  pace: Pace,
): Promise<void> {
  if (indexes.length === 0) return;
  const netlink = root.within(namespace, () => new Netlink());
  const isOne = indexes.length === 1;
  // Nobody else's, nor that of a removal which was cut short: what it had marked must not go with these.
  const group = u32(IFLA.group, randomInt(1, GROUP_MAX));
  try {
    for (const index of isOne ? [] : indexes) {
      await passOverGone(() => netlink.request(RTM_SETLINK, 0, [linkHeader({ index }), group]));
      await pace.keep();
    }
  } catch (error) {
    netlink.close();
    throw error;
  }
  const all = isOne ? [linkHeader({ index: indexes[0]! })] : [linkHeader(), group];
  const answered = passOverGone(() => netlink.requestAside(RTM_DELLINK, all)).finally(() => netlink.close());
  const looking = root.within(namespace, () => new Netlink());
  try {
    await untilGone(looking, indexes, answered, pace);
  } finally {
    looking.close();
  }
}

/**
 * The kernel unlists links under its lock, and answers only when all memory of them is free (rcu_barrier in netdev_run_todo,
 * net/core/dev.c): 14 ms later, where a single one has gone in 1.5. Whoever gets the lock after they were unlisted knows
 * that they pass nothing any more, and need not wait for the answer, unless it is a refusal.
 */
async function untilGone(
  netlink: Netlink,
  indexes: readonly number[],
  answered: Promise<void>,
  pace: Pace,
): Promise<void> {
  const progress = { isAnswered: false };
  const answer = answered.finally(() => (progress.isAnswered = true));
  // Whoever waits for it is told; a refusal of what has gone all the same is nobody's concern.
  answer.catch(() => undefined);
  while (!(await isGoneUnderLock(netlink, indexes.at(-1)!))) {
    if (progress.isAnswered) return await answer;
    await setTimeout(LOOK_MS);
  }
  // Somebody else may have taken that one away, and the others are still there.
  for (const index of indexes) {
    if (!isGone(netlink, index)) return await answer;
    await pace.keep();
  }
}

/** A change waits for the lock, so it is asked for on another thread: a thousand links are unlisted in half a second. */
async function isGoneUnderLock(netlink: Netlink, index: number): Promise<boolean> {
  try {
    await netlink.requestAside(RTM_SETLINK, [linkHeader({ index })]);
    return false;
  } catch (error) {
    if (errnoOf(error) !== 'ENODEV') throw error;
    return true;
  }
}

function isGone(netlink: Netlink, index: number): boolean {
  try {
    netlink.get(RTM_GETLINK, [linkHeader({ index })]);
    return false;
  } catch (error) {
    if (errnoOf(error) !== 'ENODEV') throw error;
    return true;
  }
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
