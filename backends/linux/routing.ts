import { writeFileSync } from 'node:fs';
import type { NamespaceName } from '../../src/host/namespaces.ts';
import {
  entryKey,
  type FdbEntry,
  type NeighbourEntry,
  type ProxyEntry,
  type Routing,
  type RoutingEntry,
} from '../../src/host/routing.ts';
import { targetOf } from '../../src/host/steps.ts';
import { announce } from './announce.ts';
import { errnoOf, hostError, isAbsent } from './errors.ts';
import { dumpLinks, getLink } from './link-message.ts';
import { FLAG } from './netlink-codec.ts';
import { Conversations, type Netlink } from './netlink.ts';
import type { NetworkRoot } from './netns.ts';
import { inTurns, Pace } from './pace.ts';
import {
  addRequest,
  dumpEntries,
  dumpRoutes,
  getRequest,
  type Neighbour,
  readNeighbour,
  removeRequest,
  RTM_GETNEIGH,
} from './routing-message.ts';

/** Addresses, routes, neighbours and forwarding databases, by rtnetlink(7). */
export const linuxRouting = (root: NetworkRoot): Routing => ({
  add: (entries) =>
    withTables(root, (tables) =>
      inTurns(entries, 'routing.add', entryKey, (entry) => {
        tables.add(entry);
        if (entry.kind === 'proxy') answerAtOnce(root, entry);
      }),
    ),
  remove: (entries) =>
    withTables(root, (tables) => inTurns(entries, 'routing.remove', entryKey, (entry) => tables.remove(entry))),
  announce: (announcements) =>
    inTurns(
      announcements,
      'routing.announce',
      (one) => targetOf({ verb: 'routing.announce', with: one, why: '' }),
      (one) => announce(root, one),
    ),
  list: (namespaces) => withTables(root, (tables) => list(tables, namespaces)),
});

/**
 * The kernel answers for another after up to 0.8 s, so that whoever has the address may come first (`proxy_delay`,
 * arp_process in net/ipv4/arp.c). Here nobody else has it, and each client's first packet would wait.
 */
function answerAtOnce(root: NetworkRoot, { namespace, link }: ProxyEntry): void {
  root.within(namespace, () => writeFileSync(`/proc/sys/net/ipv4/neigh/${link}/proxy_delay`, '0'));
}

async function list(tables: Tables, namespaces: readonly NamespaceName[]): Promise<readonly RoutingEntry[]> {
  const entries: RoutingEntry[] = [];
  const pace = new Pace();
  for (const namespace of new Set(namespaces)) {
    try {
      entries.push(...tables.read(namespace));
    } catch (error) {
      throw hostError('routing.list', namespace, error);
    }
    await pace.keep();
  }
  return entries
    .map((entry) => ({ entry, key: entryKey(entry) }))
    .sort((a, b) => (a.key < b.key ? -1 : 1))
    .map(({ entry }) => entry);
}

async function withTables<T>(root: NetworkRoot, work: (tables: Tables) => Promise<T>): Promise<T> {
  const conversations = new Conversations(root);
  try {
    return await work(new Tables(conversations));
  } finally {
    conversations.close();
  }
}

/** The tables of a host's namespaces for the length of one call. */
class Tables {
  readonly #conversations: Conversations;
  /** Of each namespace in which a route was in the way; read once, and kept up from there. */
  readonly #routes = new Map<NamespaceName, Set<string>>();

  constructor(conversations: Conversations) {
    this.#conversations = conversations;
  }

  read(namespace: NamespaceName): RoutingEntry[] {
    const netlink = this.#conversations.ifThere(namespace);
    return netlink === null ? [] : dumpEntries(netlink, namespace, dumpLinks(netlink));
  }

  add(entry: RoutingEntry): void {
    const netlink = this.#conversations.with(entry.namespace);
    const index = indexOf(netlink, entry);
    const { add, body } = addRequest(entry, index);
    try {
      netlink.request(add, FLAG.create | FLAG.exclusive, body);
    } catch (error) {
      if (errnoOf(error) !== 'EEXIST') throw error;
      this.#settle(netlink, entry, index, error);
    }
    this.#routes.get(entry.namespace)?.add(entryKey(entry));
  }

  remove(entry: RoutingEntry): void {
    try {
      const netlink = this.#conversations.with(entry.namespace);
      const index = indexOf(netlink, entry);
      const { delete: type, body } = removeRequest(entry, index);
      // The kernel looks at a part of it alone, and would take away another line, or somebody else's.
      if ((entry.kind === 'neighbour' || entry.kind === 'fdb') && !isSame(entry, index, find(netlink, entry, index)))
        return;
      if (entry.kind === 'route' && !this.#routesOf(netlink, entry.namespace).has(entryKey(entry))) return;
      if (entry.kind === 'proxy' && !this.read(entry.namespace).some((other) => entryKey(other) === entryKey(entry)))
        return;
      netlink.request(type, 0, body);
    } catch (error) {
      if (!isGone(error)) throw error;
    }
    this.#routes.get(entry.namespace)?.delete(entryKey(entry));
  }

  /** Something is there already: this very line, something learned, which gives way, or another line. */
  #settle(netlink: Netlink, entry: RoutingEntry, index: number, error: unknown): void {
    switch (entry.kind) {
      case 'address':
      case 'rule':
      case 'proxy':
        // The kernel finds these in the way only where all their fields are the same.
        return;
      case 'route': {
        if (!this.#routesOf(netlink, entry.namespace).has(entryKey(entry))) throw error;
        return;
      }
      case 'neighbour':
      case 'fdb': {
        const found = find(netlink, entry, index);
        if (isSame(entry, index, found)) return;
        if (found?.isStatic === true) throw error;
        const { add, body } = addRequest(entry, index);
        netlink.request(add, FLAG.create | FLAG.replace, body);
      }
    }
  }

  #routesOf(netlink: Netlink, namespace: NamespaceName): Set<string> {
    let routes = this.#routes.get(namespace);
    if (routes === undefined) {
      const byIndex = new Map(dumpLinks(netlink).map((link) => [link.index, link]));
      routes = new Set(dumpRoutes({ netlink, namespace, byIndex }).map(entryKey));
      this.#routes.set(namespace, routes);
    }
    return routes;
  }
}

const indexOf = (netlink: Netlink, entry: RoutingEntry): number =>
  entry.kind === 'rule' ? 0 : getLink(netlink, entry.link).index;

/** What the kernel has for this address or MAC; undefined: nothing. */
function find(netlink: Netlink, entry: NeighbourEntry | FdbEntry, index: number): Neighbour | undefined {
  try {
    return readNeighbour(netlink.get(RTM_GETNEIGH, getRequest(entry, index)));
  } catch (error) {
    if (isGone(error)) return undefined;
    throw error;
  }
}

function isSame(entry: NeighbourEntry | FdbEntry, index: number, found: Neighbour | undefined): boolean {
  if (found?.isStatic !== true) return false;
  if (entry.kind === 'neighbour') return found.mac === entry.mac;
  return entry.destination === undefined ? found.index === index : found.destination === entry.destination;
}

/** Not there, by whatever name the kernel has for it: ESRCH of a route, EADDRNOTAVAIL of an address. */
const isGone = (error: unknown): boolean =>
  isAbsent(error) || errnoOf(error) === 'ESRCH' || errnoOf(error) === 'EADDRNOTAVAIL';
