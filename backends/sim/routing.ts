import { HostError, type Errno } from '../../src/host/errors.ts';
import { AddressError, parsePrefix, type Ipv4Prefix } from '../../src/host/ipv4.ts';
import {
  entryKey,
  MAIN_TABLE,
  type FdbEntry,
  type RouteEntry,
  type Routing,
  type RoutingEntry,
} from '../../src/host/routing.ts';
import { inOrder } from './batch.ts';
import { connectedRoutes, fibOf } from './fib.ts';
import { announceFrom } from './announce.ts';
import { forgetSource } from './link-life.ts';
import {
  addressEntry,
  addressOf,
  addressText,
  type HostNetwork,
  type Link,
  type Route,
  type Space,
} from './network.ts';

/** Addresses, routes, neighbours and forwarding databases of the model. */
export const createRouting = (host: HostNetwork): Routing => ({
  add: (entries) => inOrder(entries, (entry) => change('routing.add', entry, () => add(host, entry))),
  remove: (entries) => inOrder(entries, (entry) => change('routing.remove', entry, () => remove(host, entry))),
  announce: (announcements) => inOrder(announcements, (each) => announceFrom(host, each)),
  list: async (namespaces) =>
    [...new Set(namespaces)]
      .flatMap((namespace) => entriesOf(host.spaces.get(namespace)))
      .map((entry) => ({ entry, key: entryKey(entry) }))
      .sort((a, b) => (a.key < b.key ? -1 : 1))
      .map(({ entry }) => entry),
});

/** What the kernel would refuse, before it is known of which verb and entry. */
class Refusal extends Error {
  readonly code: Errno;

  constructor(code: Errno, detail: string) {
    super(detail);
    this.code = code;
  }
}

/** @throws HostError */
function change(operation: string, entry: RoutingEntry, act: () => void): void {
  try {
    act();
  } catch (error) {
    if (!(error instanceof Refusal) && !(error instanceof AddressError)) throw error;
    const code = error instanceof Refusal ? error.code : 'EINVAL';
    throw new HostError(code, operation, entryKey(entry), { detail: error.message, cause: error });
  }
}

function add(host: HostNetwork, entry: RoutingEntry): void {
  const space = host.spaces.get(entry.namespace);
  if (space === undefined) throw new Refusal('ENODEV', `there is no namespace ${entry.namespace}`);
  if (entry.kind === 'rule') addRule(space, addressOf(entry.from), entry.table);
  else {
    const link = space.links.get(entry.link);
    if (link === undefined) throw new Refusal('ENODEV', 'no such link');
    addToLink(link, entry);
  }
  host.network.changed();
}

function addRule(space: Space, from: number, table: number): void {
  if (!space.rules.some((rule) => rule.from === from && rule.table === table)) space.rules.push({ from, table });
}

function addToLink(link: Link, entry: Exclude<RoutingEntry, { kind: 'rule' }>): void {
  const { macs } = link.space.host.network;
  switch (entry.kind) {
    case 'address': {
      const address = addressEntry(entry.prefix);
      if (!link.addresses.some(({ prefix }) => prefix === address.prefix)) link.addresses.push(address);
      return;
    }
    case 'route':
      return addRoute(link, entry);
    case 'neighbour': {
      const address = addressOf(entry.address);
      const mac = macs.id(checkedMac(entry.mac));
      const there = link.neighbours.get(address);
      if (there !== undefined && there !== mac) throw new Refusal('EEXIST', `its MAC is ${macs.text(there)} already`);
      link.neighbours.set(address, mac);
      return;
    }
    case 'proxy':
      link.proxies.add(addressOf(entry.address));
      return;
    case 'fdb':
      return addFdb(link, entry);
  }
}

/** The bits beyond a prefix's length are zero (fib_valid_prefsrc and inet_rtm_newroute refuse else). */
function networkOf(prefix: Ipv4Prefix): { first: number; bits: number } {
  const { address, first, bits } = parsePrefix(prefix);
  if (address !== first) throw new AddressError(`${prefix} has bits beyond its length`);
  return { first: first | 0, bits };
}

function addRoute(link: Link, entry: RouteEntry): void {
  const { space } = link;
  const route = routeOf(link, entry);
  if (space.routes.some((there) => isSame(there, route))) return;
  if (!link.up) throw new Refusal('ENETDOWN', 'its link is not up');
  if (route.source !== null && !fibOf(space).local.has(route.source))
    throw new Refusal('EINVAL', `its source ${entry.source} is no address of the namespace`);
  if (route.via !== null && fibOf(space).local.has(route.via))
    throw new Refusal('EINVAL', `its gateway ${entry.via} is an address of the namespace itself`);
  const isInPlace = ({ table, first, bits }: Route): boolean =>
    table === route.table && first === route.first && bits === route.bits;
  if (space.routes.some(isInPlace) || connectedRoutes(space).some(isInPlace))
    throw new Refusal('EEXIST', 'another route leads there');
  space.routes.push(route);
}

const routeOf = (link: Link, { to, via, table = MAIN_TABLE, source }: RouteEntry): Route => ({
  link,
  ...networkOf(to),
  via: via === undefined ? null : addressOf(via),
  table,
  source: source === undefined ? null : addressOf(source),
});

const isSame = (a: Route, b: Route): boolean =>
  a.link === b.link &&
  a.first === b.first &&
  a.bits === b.bits &&
  a.via === b.via &&
  a.table === b.table &&
  a.source === b.source;

function checkedMac(mac: string): string {
  if (!/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/.test(mac)) throw new AddressError(`"${mac}" is no MAC address`);
  return mac;
}

function addFdb(link: Link, { mac: text, destination }: FdbEntry): void {
  const mac = link.space.host.network.macs.id(checkedMac(text));
  if (destination !== undefined) {
    if (link.type !== 'vxlan') throw new Refusal('EOPNOTSUPP', 'it is no VXLAN');
    const host = addressOf(destination);
    const there = link.vxlanFdb.get(mac);
    if (there !== undefined && there !== host)
      throw new Refusal('EEXIST', `frames to this MAC go to ${addressText(there)} already`);
    link.vxlanFdb.set(mac, host);
    return;
  }
  const bridge = link.master;
  if (bridge === null) throw new Refusal('EOPNOTSUPP', 'it is no port of a bridge');
  const there = bridge.bridgeFdb.get(mac);
  if (there !== undefined && there !== link)
    throw new Refusal('EEXIST', `frames to this MAC go out by ${there.name} already`);
  if (bridge.mac === mac || bridge.ports.some((port) => port.mac === mac))
    throw new Refusal('EEXIST', 'the bridge or a port of it has this MAC itself');
  bridge.bridgeFdb.set(mac, link);
}

function remove(host: HostNetwork, entry: RoutingEntry): void {
  const space = host.spaces.get(entry.namespace);
  if (space === undefined) return;
  if (entry.kind === 'rule') {
    const from = addressOf(entry.from);
    space.rules = space.rules.filter((rule) => rule.from !== from || rule.table !== entry.table);
  } else {
    const link = space.links.get(entry.link);
    if (link !== undefined) removeFromLink(link, entry);
  }
  host.network.changed();
}

function removeFromLink(link: Link, entry: Exclude<RoutingEntry, { kind: 'rule' }>): void {
  const { space } = link;
  const { macs } = space.host.network;
  switch (entry.kind) {
    case 'address':
      return removeAddress(link, addressEntry(entry.prefix).prefix);
    case 'route': {
      const route = routeOf(link, entry);
      space.routes = space.routes.filter((there) => !isSame(there, route));
      return;
    }
    case 'neighbour': {
      const address = addressOf(entry.address);
      if (link.neighbours.get(address) === macs.id(checkedMac(entry.mac))) link.neighbours.delete(address);
      return;
    }
    case 'proxy':
      link.proxies.delete(addressOf(entry.address));
      return;
    case 'fdb': {
      const mac = macs.id(checkedMac(entry.mac));
      if (entry.destination !== undefined) {
        if (link.vxlanFdb.get(mac) === addressOf(entry.destination)) link.vxlanFdb.delete(mac);
      } else if (link.master?.bridgeFdb.get(mac) === link) link.master.bridgeFdb.delete(mac);
    }
  }
}

function removeAddress(link: Link, prefix: Ipv4Prefix): void {
  const index = link.addresses.findIndex((each) => each.prefix === prefix);
  if (index === -1) return;
  const [gone] = link.addresses.splice(index, 1);
  const { space } = link;
  forgetSource(space, gone!.address);
  link.introduced.delete(gone!.address);
  // With its last address a link has no IPv4 any more (fib_disable_ip, arp_ifdown).
  if (link.addresses.length > 0) return;
  space.routes = space.routes.filter((route) => route.link !== link);
  link.neighbours.clear();
  link.learned.clear();
  link.proxies.clear();
}

function entriesOf(space: Space | undefined): RoutingEntry[] {
  if (space === undefined) return [];
  const namespace = space.name;
  return [
    ...[...space.links.values()]
      .filter(({ type }) => type !== 'loopback')
      .flatMap((link) => entriesOfLink(link, namespace)),
    ...space.routes.map((route): RouteEntry => routeEntry(route, namespace)),
    ...space.rules.map(({ from, table }): RoutingEntry => ({
      kind: 'rule',
      namespace,
      from: addressText(from),
      table,
    })),
  ];
}

const routeEntry = ({ link, first, bits, via, table, source }: Route, namespace: string): RouteEntry => ({
  kind: 'route',
  namespace,
  link: link.name,
  to: `${addressText(first)}/${bits}`,
  ...(via !== null && { via: addressText(via) }),
  ...(table !== MAIN_TABLE && { table }),
  ...(source !== null && { source: addressText(source) }),
});

function entriesOfLink(link: Link, namespace: string): RoutingEntry[] {
  const { macs } = link.space.host.network;
  const at = { namespace, link: link.name };
  return [
    ...link.addresses.map(({ prefix }) => ({ kind: 'address', ...at, prefix }) as const),
    ...Array.from(
      link.neighbours,
      ([address, mac]) => ({ kind: 'neighbour', ...at, address: addressText(address), mac: macs.text(mac) }) as const,
    ),
    ...Array.from(link.proxies, (address) => ({ kind: 'proxy', ...at, address: addressText(address) }) as const),
    ...Array.from(
      link.vxlanFdb,
      ([mac, host]) => ({ kind: 'fdb', ...at, mac: macs.text(mac), destination: addressText(host) }) as const,
    ),
    ...Array.from(
      link.bridgeFdb,
      ([mac, port]) => ({ kind: 'fdb', namespace, link: port.name, mac: macs.text(mac) }) as const,
    ),
  ];
}
