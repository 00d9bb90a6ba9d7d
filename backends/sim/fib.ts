import { MAIN_TABLE } from '../../src/host/routing.ts';
import type { Link, Route, Space } from './network.ts';

/** What a namespace's addresses, routes and rules come to, derived once a revision. */
export interface Fib {
  readonly revision: number;
  /** Addresses that packets for are taken here, by whatever link they come (the kernel's weak host model). */
  readonly local: ReadonlySet<number>;
  readonly broadcasts: ReadonlySet<number>;
  /** `ip rule`: the tables that packets from this address look into before the main one, in order of priority. */
  readonly rules: ReadonlyMap<number, readonly number[]>;
  readonly tables: ReadonlyMap<number, Table>;
  /** VXLANs by UDP port, then VNI. */
  readonly vxlans: ReadonlyMap<number, ReadonlyMap<number, Link>>;
}

interface Table {
  /** Longest prefix first. */
  readonly lengths: readonly { readonly mask: number; readonly routes: ReadonlyMap<number, Route> }[];
  readonly found: Map<number, Route | null>;
}

const LOOPBACK_NET = 127;

/** What this namespace has now. */
export function fibOf(space: Space): Fib {
  const { revision } = space.host.network;
  if (space.fib?.revision === revision) return space.fib;
  return (space.fib = derive(space, revision));
}

function derive(space: Space, revision: number): Fib {
  const links = [...space.links.values()];
  const addresses = links.flatMap((link) => link.addresses.map((address) => ({ link, ...address })));
  const vxlans = new Map<number, Map<number, Link>>();
  for (const link of links.filter(({ type }) => type === 'vxlan')) {
    const ofPort = vxlans.get(link.udpPort) ?? new Map<number, Link>();
    vxlans.set(link.udpPort, ofPort.set(link.vni, link));
  }
  const rules = new Map<number, number[]>();
  for (const { from, table } of space.rules.toSorted((a, b) => a.table - b.table))
    rules.set(from, [...(rules.get(from) ?? []), table]);
  return {
    revision,
    local: new Set(addresses.map(({ address }) => address)),
    broadcasts: new Set([-1, ...addresses.flatMap(({ bits, last }) => (bits < 31 ? [last] : []))]),
    rules,
    tables: tablesOf([...connectedRoutes(space), ...space.routes]),
    vxlans,
  };
}

/** Routes of protocol kernel: a link that is up reaches the networks of its addresses. */
export const connectedRoutes = (space: Space): Route[] =>
  [...space.links.values()].flatMap((link) =>
    link.up && link.type !== 'loopback'
      ? link.addresses
          .filter(({ bits }) => bits < 32)
          .map(({ address, bits, first }) => ({ link, first, bits, via: null, table: MAIN_TABLE, source: address }))
      : [],
  );

function tablesOf(routes: readonly Route[]): Map<number, Table> {
  const tables = new Map<number, Map<number, Map<number, Route>>>();
  for (const route of routes) {
    const lengths = tables.get(route.table) ?? new Map<number, Map<number, Route>>();
    const ofLength = lengths.get(route.bits) ?? new Map<number, Route>();
    if (!ofLength.has(route.first)) ofLength.set(route.first, route);
    tables.set(route.table, lengths.set(route.bits, ofLength));
  }
  return new Map(
    [...tables].map(([number, lengths]) => [
      number,
      {
        lengths: [...lengths].sort(([a], [b]) => b - a).map(([bits, routes]) => ({ mask: maskOf(bits), routes })),
        found: new Map(),
      },
    ]),
  );
}

/** The bits of an address that a prefix of this length names. */
export const maskOf = (bits: number): number => (bits === 0 ? 0 : -1 << (32 - bits));

/** Is it an address that packets for are taken here? */
export const isLocal = (fib: Fib, address: number): boolean =>
  fib.local.has(address) || address >>> 24 === LOOPBACK_NET;

/** The route of a packet to there; null: none. From 0: its sender chose no address yet, so no rule concerns it. */
export function routeTo(fib: Fib, to: number, from: number): Route | null {
  if (from !== 0 && fib.rules.size > 0)
    for (const number of fib.rules.get(from) ?? []) {
      const route = lookUp(fib.tables.get(number), to);
      if (route !== null) return route;
    }
  return lookUp(fib.tables.get(MAIN_TABLE), to);
}

function lookUp(table: Table | undefined, to: number): Route | null {
  if (table === undefined) return null;
  const known = table.found.get(to);
  if (known !== undefined) return known;
  let route: Route | null = null;
  for (const { mask, routes } of table.lengths) {
    route = routes.get(to & mask) ?? null;
    if (route !== null) break;
  }
  table.found.set(to, route);
  return route;
}

/** The address that a packet by this route gets whose sender chose none (inet_select_addr): one in the network of the next hop, else the link's first, else any. */
export function sourceFor(route: Route, to: number): number | null {
  if (route.source !== null) return route.source;
  const { link } = route;
  return addressTowards(link, route.via ?? to);
}

/** An address of this link for packets to there; one of another link where it has none. */
export function addressTowards(link: Link, to: number): number | null {
  const { addresses } = link;
  for (const { bits, first, address } of addresses) if ((to & maskOf(bits)) === first) return address;
  if (addresses[0] !== undefined) return addresses[0].address;
  for (const other of link.space.links.values())
    if (other.up && other.type !== 'loopback' && other.addresses[0] !== undefined) return other.addresses[0].address;
  return null;
}
