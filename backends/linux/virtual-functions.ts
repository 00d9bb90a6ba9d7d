import { setTimeout } from 'node:timers/promises';
import type { Applied } from '../../src/host/batch.ts';
import type { NamespaceName } from '../../src/host/namespaces.ts';
import {
  type FoundFunctions,
  type PciAddress,
  type PhysicalFunction,
  type VfChange,
  type VfCount,
  vfKey,
  type VfName,
  type VirtualFunction,
  type VirtualFunctions,
} from '../../src/host/virtual-functions.ts';
import { monotonicMs } from './clock.ts';
import { errnoOf, hostError, inOrder, Refusal } from './errors.ts';
import { dumpLinks, getLink, type LinkRecord } from './link-message.ts';
import { linkSpeedBitsPerSec } from './link-speed.ts';
import { Conversations, type Netlink } from './netlink.ts';
import type { NetworkRoot } from './netns.ts';
import { inTurns, Pace } from './pace.ts';
import {
  type Card,
  cardAt,
  driverOf,
  functionAt,
  giveDriver,
  modalias,
  setAutoprobe,
  setVfCount,
  takeDriver,
  withheld,
} from './pci.ts';
import { runTool } from './tool.ts';
import { checkKnobs, checkRates, turnKnobs, turnsRates } from './vf-knobs.ts';
import { dumpFunctions, type FunctionRecord, getFunctions } from './vf-message.ts';

/** A card's link is back after 2 to 4 s (igb), a VF's is there at once; real cards negotiate with their peer for longer. */
const THERE_WITHIN_MS = 20_000;
const LOOK_MS = 10;

/** The virtual functions of the cards whose links are in a host's own namespace, by sysfs and rtnetlink(7). */
export const linuxVirtualFunctions = (root: NetworkRoot): VirtualFunctions => new LinuxVirtualFunctions(root);

/** A PF's link and its card. */
interface Pf {
  readonly link: FunctionRecord;
  readonly card: Card;
}

class LinuxVirtualFunctions implements VirtualFunctions {
  readonly #root: NetworkRoot;

  constructor(root: NetworkRoot) {
    this.#root = root;
  }

  /** All are told first, and then waited for together: of several whose link does not come back, the first is refused. */
  async enable(counts: readonly VfCount[]): Promise<Applied> {
    const operation = 'virtualFunctions.enable';
    return await this.#talk(async (netlink) => {
      const isToReturn = new Set<string>();
      const told = await inOrder(
        counts,
        operation,
        ({ pf }) => pf,
        async (count) => {
          if (await this.#tell(netlink, count)) isToReturn.add(count.pf);
        },
      );
      const untilMs = monotonicMs() + THERE_WITHIN_MS;
      const back = await inOrder(
        counts.slice(0, told.applied),
        operation,
        ({ pf }) => pf,
        async ({ pf }) => {
          if (isToReturn.has(pf) && !(await untilCarrier(netlink, pf, untilMs)))
            throw new Refusal('ETIMEDOUT', `its link did not come back in ${THERE_WITHIN_MS / 1000} s`, undefined);
        },
      );
      return back.error === undefined ? told : back;
    });
  }

  async set(changes: readonly VfChange[]): Promise<Applied> {
    return await this.#talk(async (netlink) => {
      let untilMs: number | undefined;
      return await inTurns(changes, 'virtualFunctions.set', vfKey, async ({ pf: name, index, set }) => {
        const pf = this.#pfOf(netlink, name);
        const now = knobsOf(pf, index);
        checkKnobs(set);
        if (turnsRates(set, now)) {
          untilMs ??= monotonicMs() + THERE_WITHIN_MS;
          if (!pf.link.up || !(await untilCarrier(netlink, name, untilMs)))
            throw new Refusal('ENETDOWN', 'rates are set on a link that is up', undefined);
          checkRates({ ...now, ...set }, this.#speedOf(name));
        }
        turnKnobs(netlink, pf.link, index, { set, driver: pf.card.driver });
      });
    });
  }

  async bind(names: readonly VfName[]): Promise<Applied> {
    const operation = 'virtualFunctions.bind';
    return await this.#talk(async (netlink) => {
      const isToCome = new Map<VfName, PciAddress>();
      const bound = await inOrder(names, operation, vfKey, async (name) => {
        const { card } = this.#pfOf(netlink, name.pf);
        const address = addressOf(card, name.index);
        if (driverOf(address) !== null) return;
        await giveDriver(card.address, address);
        if (driverOf(address) === null) {
          // Whoever made the VFs died before he had loaded it, and nobody else did.
          await withheld(card.address, () => this.#loadDriver(card.address));
          await giveDriver(card.address, address);
        }
        if (driverOf(address) === null)
          throw new Refusal('ETIMEDOUT', `no driver takes ${address}: load that of the card's VFs`, undefined);
        isToCome.set(name, address);
      });
      const untilMs = monotonicMs() + THERE_WITHIN_MS;
      const came = await inOrder(names.slice(0, bound.applied), operation, vfKey, async (name) => {
        const address = isToCome.get(name);
        if (address !== undefined && !(await until(untilMs, () => hasLink(netlink, address))))
          throw new Refusal('ETIMEDOUT', `no link of ${address} came in ${THERE_WITHIN_MS / 1000} s`, undefined);
      });
      return came.error === undefined ? bound : came;
    });
  }

  async unbind(names: readonly VfName[]): Promise<Applied> {
    return await this.#talk((netlink) =>
      inOrder(names, 'virtualFunctions.unbind', vfKey, async ({ pf, index }) => {
        const address = addressOf(this.#pfOf(netlink, pf).card, index);
        if (driverOf(address) !== null) await takeDriver(address);
      }),
    );
  }

  async list(namespaces: readonly NamespaceName[]): Promise<FoundFunctions> {
    const conversations = new Conversations(this.#root);
    try {
      const own = dumpFunctions(conversations.with(''));
      const pfs = own
        .flatMap((link): Pf[] => {
          const card = cardAt(link.device!);
          return card === null ? [] : [{ link, card }];
        })
        .sort((a, b) => (a.link.name < b.link.name ? -1 : 1));
      const links = new Map(own.map((link) => [link.device!, placed('', link)]));
      // Where no VFs are there is nothing to look for.
      if (pfs.some(({ card }) => card.vfCount > 0)) await this.#look(conversations, namespaces, links);
      return {
        physical: pfs.map((pf) => this.#physical(pf)),
        virtual: pfs.flatMap((pf) => virtualOf(pf, links)),
      };
    } catch (error) {
      throw hostError('virtualFunctions.list', '', error);
    } finally {
      conversations.close();
    }
  }

  /** Finds the links of cards in these namespaces. */
  async #look(
    conversations: Conversations,
    namespaces: readonly NamespaceName[],
    links: Map<PciAddress, PlacedLink>,
  ): Promise<void> {
    const pace = new Pace();
    for (const namespace of new Set(namespaces)) {
      if (namespace === '') continue;
      const netlink = conversations.ifThere(namespace);
      for (const link of netlink === null ? [] : dumpLinks(netlink))
        if (link.device !== undefined) links.set(link.device, placed(namespace, link));
      await pace.keep();
    }
  }

  /** Makes a card have this many VFs. @returns whether its link is to be waited for */
  async #tell(netlink: Netlink, { pf, count, autoprobe }: VfCount): Promise<boolean> {
    const link = getFunctions(netlink, pf);
    const card = link.device === undefined ? null : cardAt(link.device);
    if (card === null) throw new Refusal('EOPNOTSUPP', 'it is no card that can have virtual functions', undefined);
    const { vfCount, totalVfs, address } = card;
    if (vfCount === count) {
      if (autoprobe !== undefined && autoprobe !== card.autoprobe) await setAutoprobe(address, autoprobe);
      return false;
    }
    if (count > totalVfs) throw new Refusal('ERANGE', `it can have ${totalVfs} virtual functions`, undefined);
    if (vfCount > 0 && count > 0)
      throw new Refusal('EBUSY', `it has ${vfCount} virtual functions, which go only all at once`, undefined);
    await setVfCount(address, { count, autoprobe }, () => this.#loadDriver(address));
    return link.carrier;
  }

  /**
   * Loads the driver of a card's VFs now: udev does it when it comes to it, by then drivers are given again to whoever is
   * there, and VFs would be bound that nobody has set up. Where it is built in, forbidden or not there, nothing is loaded.
   */
  async #loadDriver(card: PciAddress): Promise<void> {
    const first = functionAt(card, 0);
    const alias = first === null ? null : modalias(first);
    if (alias === null) return;
    try {
      await runTool(this.#root, 'modprobe', ['--quiet', '--use-blacklist', alias]);
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT') throw error;
    }
  }

  /** @throws Refusal ENODEV */
  #pfOf(netlink: Netlink, name: string): Pf {
    const link = getFunctions(netlink, name);
    const card = link.device === undefined ? null : cardAt(link.device);
    if (card === null) throw new Refusal('ENODEV', `${name} is no card that can have virtual functions`, undefined);
    return { link, card };
  }

  #physical({ link: { name: pf, up, carrier }, card }: Pf): PhysicalFunction {
    const { address: pciAddress, driver, vendor, totalVfs, vfCount, autoprobe } = card;
    // A driver may tell the last speed of a link that is down; sysfs does not ask it then, either (speed_show, net/core/net-sysfs.c).
    const speedBitsPerSec = up ? this.#speedOf(pf) : null;
    return { pf, pciAddress, driver, vendor, totalVfs, vfCount, autoprobe, carrier, speedBitsPerSec };
  }

  #speedOf(pf: string): number | null {
    return this.#root.within('', () => linkSpeedBitsPerSec(pf));
  }

  /** With a socket into the host's own namespace. */
  async #talk<T>(talk: (netlink: Netlink) => Promise<T>): Promise<T> {
    const conversations = new Conversations(this.#root);
    try {
      return await talk(conversations.with(''));
    } finally {
      conversations.close();
    }
  }
}

interface PlacedLink extends LinkRecord {
  readonly namespace: NamespaceName;
}

const placed = (namespace: NamespaceName, link: LinkRecord): PlacedLink => ({ ...link, namespace });

/** A card's VFs; one of which the driver tells nothing, or which is going just now, is left out. */
function virtualOf({ link: pf, card }: Pf, links: ReadonlyMap<PciAddress, PlacedLink>): VirtualFunction[] {
  return Array.from({ length: card.vfCount }, (_, index) => index).flatMap((index) => {
    const pciAddress = functionAt(card.address, index);
    const knobs = pf.vfs.get(index);
    if (pciAddress === null || knobs === undefined) return [];
    const link = links.get(pciAddress);
    return {
      pf: pf.name,
      index,
      ...knobs,
      pciAddress,
      driver: driverOf(pciAddress),
      link: link === undefined ? null : { namespace: link.namespace, name: link.name },
      linkMac: link?.mac ?? null,
    };
  });
}

/** @throws Refusal EINVAL: the card has none of this number */
function addressOf(card: Card, index: number): PciAddress {
  const address = index < card.vfCount ? functionAt(card.address, index) : null;
  if (address === null) throw noSuchFunction(card);
  return address;
}

/** @throws Refusal EINVAL */
function knobsOf({ link, card }: Pf, index: number) {
  const knobs = link.vfs.get(index);
  if (knobs === undefined) throw noSuchFunction(card);
  return knobs;
}

const noSuchFunction = ({ vfCount }: Card): Refusal =>
  new Refusal(
    'EINVAL',
    vfCount === 0 ? 'the card has no VFs' : `the card's VFs go from 0 to ${vfCount - 1}`,
    undefined,
  );

const hasLink = (netlink: Netlink, address: PciAddress): boolean =>
  dumpLinks(netlink).some(({ device }) => device === address);

const untilCarrier = (netlink: Netlink, name: string, untilMs: number): Promise<boolean> =>
  until(untilMs, () => getLink(netlink, name).carrier);

/** Does it come to be so in time? It is looked at once in any case. */
async function until(untilMs: number, isSo: () => boolean): Promise<boolean> {
  while (!isSo()) {
    if (monotonicMs() > untilMs) return false;
    await setTimeout(LOOK_MS);
  }
  return true;
}
