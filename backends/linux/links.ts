import { closeSync, writeFileSync } from 'node:fs';
import type { Applied } from '../../src/host/batch.ts';
import {
  type LinkChange,
  type LinkEnd,
  type LinkMove,
  type LinkName,
  type Links,
  type LinkSpec,
  type LinkState,
} from '../../src/host/links.ts';
import type { NamespaceName } from '../../src/host/namespaces.ts';
import { errnoOf, hostError, isAbsent, Refusal } from './errors.ts';
import {
  AF_BRIDGE,
  BRPORT_LEARNING,
  BRPORT_MODE,
  dumpLinks,
  endAttributes,
  getLink,
  IFLA,
  kindAttributes,
  linkHeader,
  type LinkRecord,
  ONE_QUEUE,
  RTM_DELLINK,
  RTM_NEWLINK,
  RTM_SETLINK,
  stateOf,
} from './link-message.ts';
import { moveLink } from './link-move.ts';
import { checkName, getIfThere } from './link-name.ts';
import { deleteLinks, type Going } from './link-removal.ts';
import { FLAG, mac, nested, text, u32, u8 } from './netlink-codec.ts';
import { Conversations, type Netlink } from './netlink.ts';
import { type NetworkRoot, openNamespace } from './netns.ts';
import { inTurns, Pace } from './pace.ts';

/** From here on all links of a namespace are read at once, rather than each by its name. */
const READ_ALL_FROM = 8;

const targetOf = ({ namespace, name }: LinkName): string => (namespace === '' ? name : `${namespace}: ${name}`);

/** The links of one host, by rtnetlink(7). */
export const linuxLinks = (root: NetworkRoot): Links => new LinuxLinks(root);

class LinuxLinks implements Links {
  readonly #root: NetworkRoot;

  constructor(root: NetworkRoot) {
    this.#root = root;
  }

  create(specs: readonly LinkSpec[]): Promise<Applied> {
    return this.#talk((conversations) =>
      inTurns(specs, 'links.create', targetOf, (spec) => this.#create(conversations, spec)),
    );
  }

  set(changes: readonly LinkChange[]): Promise<Applied> {
    return this.#talk((conversations) =>
      inTurns(changes, 'links.set', targetOf, (change) => this.#set(conversations.with(change.namespace), change)),
    );
  }

  move(moves: readonly LinkMove[]): Promise<Applied> {
    return this.#talk((conversations) =>
      inTurns(moves, 'links.move', targetOf, (one) => moveLink(this.#root, conversations, one)),
    );
  }

  async remove(links: readonly LinkName[]): Promise<Applied> {
    let refused: Applied | undefined;
    try {
      const going = new Map<NamespaceName, LinkRecord[]>();
      const find = await this.#talk((conversations) => this.#finder(conversations, links));
      for (const [applied, link] of links.entries()) {
        const found = find(link);
        if (found === undefined) continue;
        if (!found.isVirtual) {
          const detail = 'it is a device of the machine, which cannot be removed';
          refused = {
            applied,
            error: hostError('links.remove', targetOf(link), new Refusal('EOPNOTSUPP', detail, undefined)),
          };
          break;
        }
        going.set(link.namespace, [...(going.get(link.namespace) ?? []), found]);
      }
      await deleteLinks(
        this.#root,
        Array.from(going, ([namespace, records]): Going => ({ namespace, links: records })),
      );
    } catch (error) {
      return { applied: 0, error: hostError('links.remove', links.length === 0 ? '' : targetOf(links[0]!), error) };
    }
    return refused ?? { applied: links.length };
  }

  async list(namespaces: readonly NamespaceName[]): Promise<readonly LinkState[]> {
    const states: LinkState[] = [];
    await this.#talk(async (conversations) => {
      const pace = new Pace();
      for (const namespace of [...new Set(namespaces)].sort()) {
        try {
          const netlink = conversations.ifThere(namespace);
          if (netlink === null) continue;
          const records = dumpLinks(netlink).sort((a, b) => (a.name < b.name ? -1 : 1));
          const byIndex = new Map(records.map((record) => [record.index, record]));
          for (const record of records) states.push(stateOf(record, namespace, byIndex));
        } catch (error) {
          throw hostError('links.list', namespace, error);
        }
        await pace.keep();
      }
    });
    return states;
  }

  #create(conversations: Conversations, spec: LinkSpec): void {
    const { kind, namespace } = spec;
    const ends = kind.type === 'veth' ? [spec, kind.peer] : [spec];
    for (const { name } of ends) checkName(name);
    // A macvlan's parent is looked for where the request is made.
    const from = kind.type === 'macvlan' ? '' : namespace;
    const netlink = conversations.with(from);
    const opened: number[] = [];
    const queues = kind.type === 'veth' ? ONE_QUEUE : [];
    const describe = (end: LinkEnd): Buffer[] => {
      if (end.namespace === from) return [...endAttributes(end, undefined), ...queues];
      const fd = openNamespace(this.#root.pathOf(end.namespace));
      opened.push(fd);
      return [...endAttributes(end, fd), ...queues];
    };
    // The kernel looks for its name there, too (rtnl_newlink in net/core/rtnetlink.c), where an uplink may have it: eth0.
    const isTaken = from !== namespace && getIfThere(netlink, spec.name).length > 0;
    const asked = isTaken ? { ...spec, name: PASSING } : spec;
    try {
      const parent = kind.type === 'macvlan' ? [u32(IFLA.link, getLink(netlink, kind.parent).index)] : [];
      // One that a crash left on its way.
      if (isTaken) removePassing(conversations.with(namespace));
      const body = [linkHeader(), ...describe(asked), ...parent];
      netlink.request(RTM_NEWLINK, FLAG.create | FLAG.exclusive, [
        ...body,
        kindAttributes(kind, kind.type === 'veth' ? describe(kind.peer) : []),
      ]);
      if (isTaken) renamePassing(conversations.with(namespace), spec.name);
    } catch (error) {
      if (errnoOf(error) === 'EEXIST' && isThere(conversations, spec)) return;
      throw error;
    } finally {
      opened.forEach((fd) => closeSync(fd));
    }
    this.#finish(conversations, ends);
  }

  /** What cannot be said in the request that makes a link. Without it the link would not be known for ours: so it goes. */
  #finish(conversations: Conversations, ends: readonly LinkEnd[]): void {
    try {
      for (const { namespace, name, alias } of ends) {
        const netlink = conversations.with(namespace);
        if (alias !== '')
          netlink.request(RTM_SETLINK, 0, [linkHeader(), text(IFLA.ifname, name), text(IFLA.ifalias, alias)]);
        // A thousand links with IPv6 make every change 25 times slower. In namespaces of ours they begin without.
        if (getLink(netlink, name).ipv6) this.#root.within(namespace, () => switchIpv6(name, false));
      }
    } catch (error) {
      const { namespace, name } = ends[0]!;
      conversations.with(namespace).request(RTM_DELLINK, 0, [linkHeader(), text(IFLA.ifname, name)]);
      throw error;
    }
  }

  #set(netlink: Netlink, { namespace, name, set }: LinkChange): void {
    const { up, mtu, mac: address, alias, master, learning, hairpin, forwarding, ipv6 } = set;
    const is = getLink(netlink, name);
    const { index } = is;
    // What is so already is left out: each setting goes through the kernel's notifiers. A bridge that is told its MAC
    // keeps it from its ports, though it has this one already.
    const isNew = <T>(wanted: T | undefined, now: T): wanted is T =>
      wanted !== undefined && (wanted !== now || is.type === 'bridge');
    const settings = [
      ...(isNew(mtu, is.mtu) ? [u32(IFLA.mtu, mtu)] : []),
      ...(isNew(address, is.mac) ? [mac(IFLA.address, address)] : []),
      ...(isNew(alias, is.alias) ? [text(IFLA.ifalias, alias)] : []),
      ...(master === undefined ? [] : [u32(IFLA.master, master === null ? 0 : getLink(netlink, master).index)]),
    ];
    if (settings.length > 0) netlink.request(RTM_SETLINK, 0, [linkHeader({ index }), ...settings]);
    if (learning !== undefined || hairpin !== undefined) {
      // By its number: bridges look at nothing else (rtnl_bridge_setlink).
      const port = nested(IFLA.protinfo, [
        ...(learning === undefined ? [] : [u8(BRPORT_LEARNING, learning ? 1 : 0)]),
        ...(hairpin === undefined ? [] : [u8(BRPORT_MODE, hairpin ? 1 : 0)]),
      ]);
      netlink.request(RTM_SETLINK, 0, [linkHeader({ family: AF_BRIDGE, index }), port]);
    }
    // Looking costs a tenth of writing: below /proc/sys/net the kernel goes through the names of all namespaces.
    const route = forwarding !== undefined && forwarding !== is.forwarding;
    const speak = ipv6 !== undefined && ipv6 !== is.ipv6;
    if (route || speak)
      this.#root.within(namespace, () => {
        if (route) writeFileSync(`/proc/sys/net/ipv4/conf/${name}/forwarding`, forwarding ? '1' : '0');
        if (speak) switchIpv6(name, ipv6);
      });
    // Last: a link that is up passes packets.
    if (up !== undefined && up !== is.up) netlink.request(RTM_SETLINK, 0, [linkHeader({ index, up })]);
  }

  /** How to find these links: of many in one namespace all are read at once. */
  async #finder(
    conversations: Conversations,
    links: readonly LinkName[],
  ): Promise<(link: LinkName) => LinkRecord | undefined> {
    const byNamespace = Map.groupBy(links, ({ namespace }) => namespace);
    const found = new Map<string, LinkRecord>();
    const pace = new Pace();
    for (const [namespace, wanted] of byNamespace) {
      const netlink = conversations.ifThere(namespace);
      if (netlink === null) continue;
      const records =
        wanted.length >= READ_ALL_FROM ? dumpLinks(netlink) : wanted.flatMap(({ name }) => getIfThere(netlink, name));
      for (const record of records) found.set(targetOf({ namespace, name: record.name }), record);
      await pace.keep();
    }
    return (link) => found.get(targetOf(link));
  }

  async #talk<T>(talk: (conversations: Conversations) => Promise<T>): Promise<T> {
    const conversations = new Conversations(this.#root);
    try {
      return await talk(conversations);
    } finally {
      conversations.close();
    }
  }
}

/** Is this very link there? */
function isThere(conversations: Conversations, { namespace, name, kind }: LinkSpec): boolean {
  const [found] = getIfThere(conversations.with(namespace), name);
  if (found?.type !== kind.type) return false;
  switch (kind.type) {
    case 'bridge':
      return true;
    case 'vxlan':
      return found.vni === kind.vni && found.local === kind.local && found.udpPort === kind.udpPort;
    case 'veth': {
      const netlink = conversations.ifThere(kind.peer.namespace);
      return netlink !== null && getIfThere(netlink, kind.peer.name)[0]?.index === found.link;
    }
    case 'macvlan':
      return getIfThere(conversations.with(''), kind.parent)[0]?.index === found.link;
  }
}

/** What a link is called until it is where the name that it is to have is free. */
const PASSING = 'plm-passing';

function renamePassing(netlink: Netlink, name: string): void {
  try {
    netlink.request(RTM_SETLINK, 0, [linkHeader({ index: getLink(netlink, PASSING).index }), text(IFLA.ifname, name)]);
  } catch (error) {
    removePassing(netlink);
    throw error;
  }
}

function removePassing(netlink: Netlink): void {
  for (const { index } of getIfThere(netlink, PASSING)) netlink.request(RTM_DELLINK, 0, [linkHeader({ index })]);
}

/** A link that is too small for IPv6, or whose kernel has none, has no such file. */
function switchIpv6(name: string, on: boolean): void {
  try {
    writeFileSync(`/proc/sys/net/ipv6/conf/${name}/disable_ipv6`, on ? '0' : '1');
  } catch (error) {
    if (!isAbsent(error)) throw error;
    if (on) throw new Refusal('EOPNOTSUPP', 'this link, or this kernel, has no IPv6', error);
  }
}
