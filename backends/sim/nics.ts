import { vfDriverOf, type VfDriver } from '../../src/host/vf-drivers.ts';
import type { VfName } from '../../src/host/virtual-functions.ts';
import type { EventQueue } from './events.ts';
import { moveLink } from './link-life.ts';
import { type HostNetwork, Link, Space } from './network.ts';
import { Nic, type Vf } from './nic.ts';

/** A network card with virtual functions, on the fabric. */
export interface SimulatedNic {
  /** The PF's link, up; the machine's uplink where it is called so. */
  readonly link: string;
  /** Whose behaviour it has: see src/host/vf-drivers.ts. */
  readonly driver: string;
  /** In place of what is known of the driver; needed of one that is not known. */
  readonly behaviour?: VfDriver;
  /** The driver's most unless set. */
  readonly totalVfs?: number;
  /** 1 Gbit/s of igb, 10 of others unless set. */
  readonly speedBitsPerSec?: number;
}

/** From the end of a namespace's name to the end of the namespace (cleanup_net runs in a work queue): 38 ms for one with a veth, idle (measured). */
const CLEANUP_MS = 40;

/** How often it is looked whether somebody still lives in a namespace without a name. */
const HOLD_LOOK_MS = 250;

/** Buses that one card's functions take at most: 256 VFs two apart, after the PF's own. */
const BUSES = 4;

/** What can befall a machine's cards, and what others do to its VFs, besides what the port's verbs can do. @throws RangeError where there is none of the name */
export interface Mishaps {
  /** The signal on a PF's wire goes for so long; for ever: Infinity. */
  cut(pf: string, forMs: number): void;
  /** Something keeps a namespace alive when its name goes, as an orphaned socket does; the returned call ends it. */
  hold(namespace: string): () => void;
  /** Moves a VF's link into a namespace that nobody can name, which lasts until the VF is unbound. */
  hide(name: VfName): void;
}

/** The cards of one host, and what becomes of their links. */
export class Nics implements Mishaps {
  readonly all: Nic[] = [];
  readonly #host: HostNetwork;
  readonly #events: EventQueue;

  constructor(host: HostNetwork, events: EventQueue) {
    this.#host = host;
    this.#events = events;
  }

  /** @throws RangeError for a driver whose behaviour is not known */
  add({ link: name, driver, behaviour = vfDriverOf(driver), totalVfs, speedBitsPerSec }: SimulatedNic): void {
    if (behaviour === undefined) throw new RangeError(`a card of driver "${driver}": its behaviour is not known`);
    const { own, network } = this.#host;
    let link = own.links.get(name);
    if (link === undefined) {
      link = new Link(own, name, 'other', network.randomMac());
      link.up = true;
    }
    const speed = speedBitsPerSec ?? (driver === 'igb' ? 1e9 : 1e10);
    const bus = 1 + BUSES * this.all.length;
    this.all.push(
      new Nic(link, { ...behaviour, name: driver }, totalVfs ?? behaviour.vfsMax, speed, bus, this.#events),
    );
    network.changed();
  }

  /** The card whose PF has this link in the host's own namespace. */
  ofPf(pf: string): Nic | undefined {
    const link = this.#host.own.links.get(pf);
    return link?.vf === null ? (link.nic ?? undefined) : undefined;
  }

  /** A namespace has lost its name: its devices come home when nothing holds it any more. */
  giveBack(space: Space): void {
    const devices = [...space.links.values()].filter(({ type }) => type === 'other');
    if (devices.length > 0) this.#giveBackIn(CLEANUP_MS, space, devices);
  }

  #giveBackIn(delayMs: number, space: Space, devices: readonly Link[]): void {
    this.#events.at(this.#events.nowMs + delayMs, () => {
      if (space.holders.some((holds) => holds())) return this.#giveBackIn(HOLD_LOOK_MS, space, devices);
      for (const link of devices) if (space.links.get(link.name) === link) this.#bringHome(link);
    });
  }

  /** By the name it has, or by one of its number where that is taken (default_device_exit_net, net/core/dev.c). */
  #bringHome(link: Link): void {
    const { own } = this.#host;
    moveLink(link, own, own.links.has(link.name) ? `dev${link.index}` : link.name);
  }

  cut(pf: string, forMs: number): void {
    const nic = this.ofPf(pf);
    if (nic === undefined) throw new RangeError(`there is no PF ${pf}`);
    nic.loseSignal(forMs);
  }

  hold(namespace: string): () => void {
    const space = this.#host.spaces.get(namespace);
    if (space === undefined) throw new RangeError(`there is no namespace ${namespace}`);
    let holds = true;
    space.holders.push(() => holds);
    return () => void (holds = false);
  }

  hide(name: VfName): void {
    const link = this.#vf(name)?.link;
    if (link == null) throw new RangeError(`${name.pf} vf ${name.index} has no link`);
    moveLink(link, new Space(this.#host, 'hidden'), link.name);
  }

  #vf({ pf, index }: VfName): Vf | undefined {
    return this.ofPf(pf)?.vfs[index];
  }
}
