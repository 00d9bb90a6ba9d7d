import type { MacAddress } from '../../src/host/ipv4.ts';
import type { VfDriver } from '../../src/host/vf-drivers.ts';
import type { PciAddress, VfKnobs } from '../../src/host/virtual-functions.ts';
import type { EventQueue } from './events.ts';
import { unlink } from './link-life.ts';
import { Link } from './network.ts';

/** No MAC that a PF gives: the VF chooses. */
export const NO_MAC: MacAddress = '00:00:00:00:00:00';

/** What a VF is before anybody turns its knobs (igb_enable_sriov and its like). */
const freshKnobs = ({ checksSpoofing }: VfDriver): VfKnobs => ({
  mac: NO_MAC,
  vlan: 0,
  qos: 0,
  proto: '802.1Q',
  spoofCheck: checksSpoofing,
  trust: false,
  linkState: 'auto',
  minRateBitsPerSec: 0,
  maxRateBitsPerSec: 0,
});

/** From a PF's number on the bus to its first VF's, and from each to the next (82576 datasheet, 9.6.4: First VF Offset 128, VF Stride 2). */
const FIRST_VF_OFFSET = 0x80;
const VF_STRIDE = 2;

/** A network card's PF, and the VFs that it has. */
export class Nic {
  readonly link: Link;
  readonly driver: VfDriver;
  readonly totalVfs: number;
  readonly speedBitsPerSec: number;
  readonly vfs: Vf[] = [];
  /** Told alone: who makes VFs gives them no driver. */
  autoprobe = true;
  readonly #route: number;
  readonly #events: EventQueue;
  /** How many reasons there are now for which there is no signal on its wire. */
  #outages = 0;

  constructor(
    link: Link,
    driver: VfDriver,
    totalVfs: number,
    speedBitsPerSec: number,
    bus: number,
    events: EventQueue,
  ) {
    this.link = link;
    this.driver = driver;
    this.totalVfs = totalVfs;
    this.speedBitsPerSec = speedBitsPerSec;
    this.#route = bus << 8;
    this.#events = events;
    link.nic = this;
  }

  get pciAddress(): PciAddress {
    return pciAddress(this.#route);
  }

  get carrier(): boolean {
    return this.link.up && this.#outages === 0;
  }

  /** Takes the signal away for a while. */
  loseSignal(forMs: number): void {
    if (forMs <= 0) return;
    this.#outages++;
    this.link.space.host.network.changed();
    if (!Number.isFinite(forMs)) return;
    this.#events.at(this.#events.nowMs + forMs, () => {
      this.#outages--;
      this.link.space.host.network.changed();
    });
  }

  /** Makes its VFs, or takes all away, wherever their links are. Either resets the PF, and its link is gone for a while. */
  setVfs(count: number): void {
    for (const vf of this.vfs.splice(0)) vf.unbind();
    for (let index = 0; index < count; index++)
      this.vfs.push(new Vf(this, index, pciAddress(this.#route + FIRST_VF_OFFSET + index * VF_STRIDE)));
    this.reset();
  }

  /** The link comes up anew: speed and duplex are negotiated again. */
  reset(): void {
    if (this.link.up) this.loseSignal(this.driver.linkDropMs);
  }
}

/** `0000:01:10.2`, by the number that packets on the bus are routed by: bus, device, function. */
const pciAddress = (route: number): PciAddress => {
  const hex = (value: number, digits: number): string => value.toString(16).padStart(digits, '0');
  return `0000:${hex(route >> 8, 2)}:${hex((route >> 3) & 0x1f, 2)}.${route & 7}`;
};

/** A virtual function. */
export class Vf {
  readonly nic: Nic;
  readonly index: number;
  readonly pciAddress: PciAddress;
  knobs: VfKnobs;
  /** Null: it is bound to no driver. */
  link: Link | null = null;

  constructor(nic: Nic, index: number, address: PciAddress) {
    this.nic = nic;
    this.index = index;
    this.pciAddress = address;
    this.knobs = freshKnobs(nic.driver);
  }

  /** Does its link have a signal? */
  get hasSignal(): boolean {
    const { linkState } = this.knobs;
    if (linkState === 'auto' || (linkState === 'enable' && !this.nic.driver.forcesLinkUp)) return this.nic.carrier;
    return linkState === 'enable';
  }

  /** Gives its driver, and with it a link in the host's own namespace, by the kernel's next free name. */
  bind(): void {
    const { host } = this.nic.link.space;
    const { network, own } = host;
    const { mac } = this.knobs;
    let number = 0;
    while (own.links.has(`eth${number}`)) number++;
    this.link = new Link(own, `eth${number}`, 'other', mac === NO_MAC ? network.randomMac() : network.macs.id(mac));
    this.link.nic = this.nic;
    this.link.vf = this;
    network.changed();
  }

  unbind(): void {
    if (this.link !== null) unlink(this.link);
    this.link = null;
  }

  turn(knobs: Partial<VfKnobs>): void {
    this.knobs = { ...this.knobs, ...knobs };
    if (knobs.mac !== undefined && this.nic.driver.macFollows === 'at once') this.takeMac();
    this.nic.link.space.host.network.changed();
  }

  /** Its link is set up: most drivers ask the PF for their address now. */
  opened(): void {
    if (this.nic.driver.macFollows !== 'bind') this.takeMac();
  }

  takeMac(): void {
    const { mac } = this.knobs;
    if (this.link !== null && mac !== NO_MAC) this.link.changeMac(this.link.space.host.network.macs.id(mac));
  }

  /** Does the card let it use this MAC: the one the PF gave, or, where it gave none or trusts it, one of its own? */
  owns(mac: number): boolean {
    const { link, knobs } = this;
    const { macs } = this.nic.link.space.host.network;
    if (knobs.mac !== NO_MAC && macs.id(knobs.mac) === mac) return true;
    if (link === null || (knobs.mac !== NO_MAC && !knobs.trust)) return false;
    return link.mac === mac || link.children.some((child) => child.mac === mac);
  }
}
