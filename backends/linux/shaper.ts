import type { LinkName } from '../../src/host/links.ts';
import {
  CLASS_MINOR_MAX,
  type ClassCounters,
  type ForeignQdisc,
  heldClass,
  type Shaper,
  type ShaperClass,
  shaperKey,
  type ShaperObject,
  type ShaperState,
} from '../../src/host/shaper.ts';
import { errnoOf, hostError, isAbsent, Refusal } from './errors.ts';
import { hasFairQueues } from './fair-queue.ts';
import { getLink } from './link-message.ts';
import { Conversations } from './netlink.ts';
import type { NetworkRoot } from './netns.ts';
import { inTurns, Pace } from './pace.ts';
import { type Classifier, CLASSIFIERS } from './shaper-filter.ts';
import { handleText, ShapedLink } from './shaper-link.ts';

const targetOf = ({ namespace, name }: LinkName): string => (namespace === '' ? name : `${namespace}: ${name}`);

/** Queueing disciplines, classes and filters, by rtnetlink(7). @param classifiers what to take marks as classes with, the best first */
export const linuxShaper = (root: NetworkRoot, classifiers: readonly Classifier[] = CLASSIFIERS): Shaper => ({
  add: (objects) =>
    talk(root, (shaped) =>
      inTurns(objects, 'shaper.add', shaperKey, (object) => {
        check(object);
        add(shaped.with(object), object, classifiers);
      }),
    ),
  remove: (objects) =>
    talk(root, (shaped) =>
      inTurns(objects, 'shaper.remove', shaperKey, (object) => {
        try {
          remove(shaped.with(object), object);
        } catch (error) {
          if (!isAbsent(error)) throw error;
        }
      }),
    ),
  list: (links) => talk(root, (shaped) => list(shaped, links)),
  counters: (links) => talk(root, (shaped) => counters(shaped, links)),
  hasFairQueues,
});

/** The links of one call, each looked up once. */
class ShapedLinks {
  readonly #conversations: Conversations;
  readonly #found = new Map<string, ShapedLink>();

  constructor(conversations: Conversations) {
    this.#conversations = conversations;
  }

  /** @throws Refusal ENODEV */
  with(at: LinkName): ShapedLink {
    const netlink = this.#conversations.with(at.namespace);
    const key = targetOf(at);
    const known = this.#found.get(key);
    if (known?.netlink === netlink) return known;
    const found = new ShapedLink(netlink, getLink(netlink, at.name).index);
    this.#found.set(key, found);
    return found;
  }

  /** Those of these that are there, each once, in order. */
  async each(
    links: readonly LinkName[],
    operation: string,
    work: (link: ShapedLink, at: LinkName) => void,
  ): Promise<void> {
    const pace = new Pace();
    const byKey = new Map(links.map((at) => [`${at.namespace}\n${at.name}`, at]));
    for (const key of [...byKey.keys()].sort()) {
      const { namespace, name } = byKey.get(key)!;
      try {
        const link = this.#ifThere({ namespace, name });
        if (link !== null) work(link, { namespace, name });
      } catch (error) {
        throw hostError(operation, targetOf({ namespace, name }), error);
      }
      await pace.keep();
    }
  }

  #ifThere(at: LinkName): ShapedLink | null {
    try {
      return this.with(at);
    } catch (error) {
      if (isAbsent(error) || errnoOf(error) === 'ERANGE') return null;
      throw error;
    }
  }
}

async function talk<T>(root: NetworkRoot, work: (shaped: ShapedLinks) => Promise<T>): Promise<T> {
  const conversations = new Conversations(root);
  try {
    return await work(new ShapedLinks(conversations));
  } finally {
    conversations.close();
  }
}

function add(link: ShapedLink, object: ShaperObject, classifiers: readonly Classifier[]): void {
  switch (object.kind) {
    case 'qdisc':
      return link.addQdisc(object.defaultMinor);
    case 'class':
      return link.addClass(heldClass(object));
    case 'filter':
      return link.addFilter(classifiers);
  }
}

function remove(link: ShapedLink, object: ShaperObject): void {
  if (!link.isOurs()) return;
  switch (object.kind) {
    case 'qdisc':
      return link.removeQdisc();
    case 'class':
      return link.removeClass(object.minor);
    case 'filter':
      return link.removeFilter();
  }
}

/** Numbers that make no sense, before anything is done: the kernel takes some of them for others. */
function check(object: ShaperObject): void {
  if (object.kind === 'qdisc') checkMinor(object.defaultMinor, 0);
  if (object.kind === 'class') checkClass(object);
}

function checkMinor(minor: number, least: number): void {
  if (!Number.isInteger(minor) || minor < least || minor > CLASS_MINOR_MAX)
    throw new Refusal('ERANGE', `minors go from ${least} to ${CLASS_MINOR_MAX}, and ${minor} does not`, undefined);
}

/** The kernel counts whole bytes a second. */
const LEAST_BITS_PER_SEC = 8;
/** Quanta are signed in the kernel (struct htb_class). */
const QUANTUM_MAX = 0x7fff_ffff;

function checkClass(wanted: ShaperClass): void {
  const { minor, parentMinor, rateBitsPerSec, ceilBitsPerSec, burstBytes, ceilBurstBytes, quantumBytes } = wanted;
  checkMinor(minor, 1);
  checkMinor(parentMinor, 0);
  const insist = (holds: boolean, detail: string): void => {
    if (!holds) throw new Refusal('EINVAL', detail, undefined);
  };
  for (const rate of [rateBitsPerSec, ceilBitsPerSec])
    insist(Number.isFinite(rate) && rate >= LEAST_BITS_PER_SEC, `${rate} bit/s is no rate: the least is 8`);
  insist(ceilBitsPerSec >= rateBitsPerSec, `a ceiling of ${ceilBitsPerSec} bit/s is below the rate, ${rateBitsPerSec}`);
  for (const burst of [burstBytes, ceilBurstBytes])
    insist(Number.isFinite(burst) && burst > 0, `with a burst of ${burst} bytes nothing passes`);
  insist(
    Number.isInteger(quantumBytes) && quantumBytes > 0 && quantumBytes <= QUANTUM_MAX,
    `with a quantum of ${quantumBytes} bytes nothing is sent in turn`,
  );
}

async function list(shaped: ShapedLinks, links: readonly LinkName[]): Promise<ShaperState> {
  const objects: ShaperObject[] = [];
  const foreign: ForeignQdisc[] = [];
  await shaped.each(links, 'shaper.list', (link, at) => {
    const { root } = link;
    if (root === undefined) return;
    if (!link.isOurs()) {
      foreign.push({ ...at, type: root.type, handle: handleText(root.handle) });
      return;
    }
    objects.push({ ...at, kind: 'qdisc', defaultMinor: root.defaultMinor });
    for (const one of link.classes()) objects.push({ ...at, kind: 'class', ...one });
    if (link.hasFilter()) objects.push({ ...at, kind: 'filter' });
  });
  const keyed = objects.map((object) => ({ object, key: shaperKey(object) }));
  return { objects: keyed.sort((a, b) => (a.key < b.key ? -1 : 1)).map(({ object }) => object), foreign };
}

async function counters(shaped: ShapedLinks, links: readonly LinkName[]): Promise<readonly ClassCounters[]> {
  const all: ClassCounters[] = [];
  await shaped.each(links, 'shaper.counters', (link, at) => {
    if (!link.isOurs()) return;
    for (const passed of link.passed().sort((a, b) => a.minor - b.minor)) all.push({ ...at, ...passed });
  });
  return all;
}
