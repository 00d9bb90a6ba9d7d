import type { Applied } from '../../src/host/batch.ts';
import type { FirewallElement, FirewallFrame } from '../../src/host/firewall.ts';
import type { Host } from '../../src/host/host.ts';
import type { Ipv4Address } from '../../src/host/ipv4.ts';
import type { NamespaceName } from '../../src/host/namespaces.ts';
import type { RoutingEntry } from '../../src/host/routing.ts';
import type { ShaperObject } from '../../src/host/shaper.ts';
import type { PictureLink } from '../../src/network/picture.ts';

/** A container that sends, by its namespace, and where to. */
export interface PathContainer {
  readonly namespace: NamespaceName;
  /** The sink, as it is reached from here. */
  readonly target: Ipv4Address;
}

/** Everything of one host that a path consists of. */
export interface PathPicture {
  readonly namespaces: readonly NamespaceName[];
  readonly links: readonly PictureLink[];
  readonly entries: readonly RoutingEntry[];
  readonly frame?: FirewallFrame;
  readonly elements: readonly FirewallElement[];
  readonly objects: readonly ShaperObject[];
  readonly containers: readonly PathContainer[];
}

/** What a path is laid with: the same verbs on a real host and on a simulated one. */
export type PathHost = Pick<Host, 'namespaces' | 'links' | 'routing' | 'firewall' | 'shaper'>;

/** Makes what there is of it. @throws HostError unless all was applied */
export async function layPicture(host: PathHost, picture: Partial<PathPicture>): Promise<void> {
  const { namespaces = [], links = [], entries = [], frame, elements = [], objects = [] } = picture;
  insist(await host.namespaces.create(namespaces));
  insist(
    await host.links.create(
      links.flatMap(({ namespace, name, kind, settings: { alias = '', mac, mtu } }) =>
        kind === undefined || kind.type === 'vf'
          ? []
          : [{ namespace, name, alias, kind, ...(mac && { mac }), ...(mtu && { mtu }) }],
      ),
    ),
  );
  insist(await host.links.set(links.map(({ namespace, name, settings }) => ({ namespace, name, set: settings }))));
  insist(await host.routing.add(entries));
  if (frame !== undefined) insist(await host.firewall.apply([{ frame, add: elements, remove: [] }]));
  insist(await host.shaper.add(objects));
}

/** Takes all of it away again. @throws HostError unless all is gone */
export async function unlayPicture(host: PathHost, picture: PathPicture): Promise<void> {
  const { namespaces, links, entries, frame, objects } = picture;
  const isOwn = ({ namespace }: { readonly namespace: NamespaceName }): boolean => namespace === '';
  insist(await host.shaper.remove(objects.filter(({ kind }) => kind === 'qdisc').filter(isOwn)));
  insist(await host.namespaces.remove(namespaces));
  insist(await host.links.remove(links.filter((link) => link.kind !== undefined && isOwn(link))));
  insist(await host.routing.remove(entries.filter(isOwn)));
  if (frame !== undefined) insist(await host.firewall.apply([{ frame: null, add: [], remove: [] }]));
}

/** @throws HostError unless all was applied */
export function insist({ error }: Applied): void {
  if (error !== undefined) throw error;
}
