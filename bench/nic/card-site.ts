import type { Ipv4Address } from '../../src/host/ipv4.ts';
import { type Card, type CardOptions, takeCard, untilCarrier } from './card.ts';
import { dockerPath } from './paths/docker.ts';
import { macvlanPath } from './paths/macvlan.ts';
import { natPath } from './paths/nat.ts';
import { overlayPath } from './paths/overlay.ts';
import { vfPath } from './paths/vf.ts';
import type { PathSpec } from './paths.ts';
import { insist, layPicture, type PathPicture, unlayPicture } from './picture.ts';
import { dressHost, type NicPlace, undressHost } from './place.ts';
import type { Sink } from './sink.ts';
import type { NicSite } from './site.ts';
import { undoAll } from './undo.ts';
import { linuxPathHost } from './path-host.ts';
import { OWN_WIRE, SINK, type Wire } from './wire.ts';

/** A site whose wire is that of a real card, and whose sink is another host's. */
export interface CardSite extends NicSite {
  readonly functions: Card['functions'];
}

/**
 * Paths by a card, one at a time: they have only the one uplink. Packets go to the sink at this address on the card's wire.
 * @throws HostError
 */
export async function cardSite(options: CardOptions, sink: Sink, address: Ipv4Address): Promise<CardSite> {
  const card = await takeCard(options);
  const { root, vfLinks, functions } = card;
  const wire: Wire = { uplink: { ...OWN_WIRE.uplink, link: options.pf }, sink: address };
  const host = linuxPathHost(root);
  // Once iptables has had a rule in a namespace its hooks stay: so all paths pass them, and not only those after Docker's.
  await undressHost(root);
  let current: NicPlace | null = null;
  const leave = async (): Promise<void> => {
    await current?.close();
    current = null;
  };
  return {
    functions,
    card: { namespace: '', name: options.pf },
    shown: [...(vfLinks.length > 0 ? [vfPath] : []), macvlanPath, natPath, dockerPath, overlayPath],
    parts: [],
    place: async (path) => {
      if (current?.path === path) return current;
      await leave();
      current = await lay(path);
      return current;
    },
    close: async () => {
      await undoAll([() => sink.close(), () => card.close(), leave]);
    },
  };

  async function lay(path: PathSpec): Promise<NicPlace> {
    // What is of the sink's own host is not here.
    const picture = withoutSink(path.picture(options.containers, wire));
    const undo: (() => Promise<void>)[] = [() => unlayPicture(host, picture)];
    try {
      // The addresses of VFs come when their links are there.
      await layPicture(host, path === vfPath ? { ...picture, entries: [] } : picture);
      if (path === vfPath) {
        await moveFunctions(picture, 'in');
        undo.push(() => moveFunctions(picture, 'back'));
        await wakeFunctions(picture);
      }
      undo.push(() => undressHost(root));
      await dressHost(root, path);
    } catch (error) {
      // Of what fails as it is taken away again the first failure is the cause.
      await undoAll(undo).catch(() => undefined);
      throw error;
    }
    return {
      path,
      root,
      containers: picture.containers,
      sink,
      isWhole: false,
      // It answers as long as it runs, and is no member of a tenant's network.
      echo: picture.containers[0]!.target === address ? async () => ({ close: async () => undefined }) : null,
      close: () => undoAll(undo),
    };
  }

  /** A VF's link is in the machine's own namespace while nobody has it. */
  async function moveFunctions({ containers }: PathPicture, way: 'in' | 'back'): Promise<void> {
    const inside = containers.map(({ namespace }) => ({ namespace: root.pathOf(namespace), name: 'eth0' }));
    await card.move(
      inside.map((at, index) => (way === 'in' ? { ...vfLinks[index]!, to: at } : { ...at, to: vfLinks[index]! })),
    );
  }

  async function wakeFunctions({ containers, entries }: PathPicture): Promise<void> {
    const inside = containers.map(({ namespace }) => ({ namespace, name: 'eth0' }));
    insist(await host.links.set(inside.map((at) => ({ ...at, set: { up: true, ipv6: false } }))));
    insist(await host.routing.add(entries));
    await untilCarrier(root, inside);
  }
}

function withoutSink(picture: PathPicture): PathPicture {
  const isHere = ({ namespace }: { readonly namespace: string }): boolean => namespace !== SINK;
  return { ...picture, links: picture.links.filter(isHere), entries: picture.entries.filter(isHere) };
}
