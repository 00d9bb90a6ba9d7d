import type { FirewallState } from '../host/firewall.ts';
import type { Host } from '../host/host.ts';
import { parsePrefix } from '../host/ipv4.ts';
import type { LinkState } from '../host/links.ts';
import type { NamespaceName } from '../host/namespaces.ts';
import { MAIN_TABLE, type RoutingEntry } from '../host/routing.ts';
import type { FoundFunctions } from '../host/virtual-functions.ts';
import { NetworkError } from './desired.ts';
import { isOurs } from './names.ts';
import type { Uplink } from './picture.ts';

/** What networks find on a host: everything, not only what is Plimsoll's. */
export interface NetworkObserved {
  /** That Plimsoll made. */
  readonly namespaces: readonly NamespaceName[];
  /** Of the host's own namespace and of the containers'. */
  readonly links: readonly LinkState[];
  readonly entries: readonly RoutingEntry[];
  readonly firewall: FirewallState;
  readonly functions: FoundFunctions;
  /** Where it was not looked: what is in these namespaces is as it was left. */
  readonly unseen?: ReadonlySet<NamespaceName>;
}

/** Reads back all networks of this host. `foreign` are containers' namespaces that somebody else made; into `unseen` ones it is not looked. */
export async function observeNetwork(
  host: Host,
  foreign: readonly NamespaceName[] = [],
  unseen: ReadonlySet<NamespaceName> = new Set(),
): Promise<NetworkObserved> {
  const namespaces = await host.namespaces.list();
  const all = ['', ...new Set([...namespaces, ...foreign])].filter((name) => !unseen.has(name));
  const [links, firewall, functions] = await Promise.all([
    host.links.list(all),
    host.firewall.read(),
    host.virtualFunctions.list(all.filter((name) => name !== '')),
  ]);
  // Where there is but a loopback nothing is attached: of a thousand new namespaces the tables are not asked.
  const attached = new Set(links.flatMap(({ type, namespace }) => (type === 'loopback' ? [] : [namespace])));
  const entries = await host.routing.list(all.filter((name) => name === '' || attached.has(name)));
  return { namespaces, links, entries, firewall, functions, unseen };
}

/**
 * The link to the other hosts: the one that is named, else the one with the default route, else the only one that has an
 * address. Null where nothing tells. @throws NetworkError where the named one is not there, or has no address
 */
export function uplinkOf({ links, entries }: NetworkObserved, wanted?: string): Uplink | null {
  const own = links.filter((link) => link.namespace === '' && link.type !== 'loopback' && !isOurs(link));
  // Of several addresses the one that tunnels end at already: another that comes and goes must not move them.
  const ends = new Set(links.flatMap((link) => (isOurs(link) && link.local !== undefined ? [link.local] : [])));
  const addressOf = (name: string): string | undefined => {
    const prefixes = entries.flatMap((entry) =>
      entry.kind === 'address' && entry.namespace === '' && entry.link === name && !isLoopback(entry.prefix)
        ? [entry.prefix]
        : [],
    );
    return prefixes.find((prefix) => ends.has(prefix.split('/')[0]!)) ?? prefixes[0];
  };
  const defaultRoute = (name?: string) =>
    entries.find(
      (entry) =>
        entry.kind === 'route' &&
        entry.namespace === '' &&
        entry.to === '0.0.0.0/0' &&
        (entry.table ?? MAIN_TABLE) === MAIN_TABLE &&
        (name === undefined || entry.link === name),
    );
  const addressed = own.filter(({ name }) => addressOf(name) !== undefined);
  if (wanted !== undefined && !own.some(({ name }) => name === wanted))
    throw new NetworkError(
      'uplink',
      `there is no link ${wanted} on this host: name one of ${own.map(({ name }) => name).join(', ') || 'those that ip link shows'}`,
    );
  const route = defaultRoute();
  const name =
    wanted ??
    (route !== undefined && 'link' in route ? route.link : addressed.length === 1 ? addressed[0]!.name : undefined);
  const link = own.find((each) => each.name === name);
  if (link === undefined) return null;
  const prefix = addressOf(link.name);
  if (prefix === undefined) {
    if (wanted === undefined) return null;
    throw new NetworkError(
      'uplink',
      `${wanted} has no address: give it one, or name the link that reaches the other hosts`,
    );
  }
  const gateway = defaultRoute(link.name);
  return {
    link: link.name,
    address: prefix.split('/')[0]!,
    bits: parsePrefix(prefix).bits,
    mtu: link.mtu,
    ...(gateway?.kind === 'route' && gateway.via !== undefined && { gateway: gateway.via }),
  };
}

const isLoopback = (prefix: string): boolean => prefix.startsWith('127.');
