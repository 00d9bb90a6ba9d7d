import { errnoOf, hostError } from './errors.ts';
import { makeOwnNamespace, ownNamespaceOf, removeNetwork } from './fabric.ts';
import { getLink } from './link-message.ts';
import { Conversations } from './netlink.ts';
import { NetworkRoot } from './netns.ts';
import { runMark } from './owner.ts';
import { ShapedLink } from './shaper-link.ts';

/** What a class needs besides; nothing ever passes it. */
const NUMBERS = {
  parentMinor: 0,
  rateBitsPerSec: 8e6,
  ceilBitsPerSec: 8e6,
  burstBytes: 15_000,
  ceilBurstBytes: 15_000,
};

let known: Promise<boolean> | undefined;

/** Can classes of this kernel have an fq_codel? Found once, by laying one on the loopback of a namespace that is gone again at once. */
export const hasFairQueues = (): Promise<boolean> => (known ??= look());

async function look(): Promise<boolean> {
  const mark = runMark('look.fair-queue');
  const conversations = new Conversations(new NetworkRoot({ mark, own: ownNamespaceOf(mark) }));
  try {
    makeOwnNamespace(mark);
    const netlink = conversations.with('');
    const link = new ShapedLink(netlink, getLink(netlink, 'lo').index);
    link.addQdisc(1);
    link.addClass({
      namespace: '',
      name: 'lo',
      kind: 'class',
      minor: 1,
      quantumBytes: 15_000,
      ...NUMBERS,
      fairQueue: true,
    });
    return true;
  } catch (error) {
    if (errnoOf(error) === 'EOPNOTSUPP') return false;
    known = undefined;
    throw hostError('shaper.hasFairQueues', '', error);
  } finally {
    conversations.close();
    await removeNetwork(mark);
  }
}
