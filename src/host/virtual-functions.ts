import type { Applied } from './batch.ts';
import type { MacAddress } from './ipv4.ts';
import type { LinkName } from './links.ts';
import type { NamespaceName } from './namespaces.ts';

/** Where a function stands on the PCI bus: `0000:01:10.0`. */
export type PciAddress = string;

/** A VF of a PF by its number, `ip link set PF vf INDEX`. */
export interface VfName {
  /** The PF's link in the host's own namespace. */
  readonly pf: string;
  readonly index: number;
}

/** The nine knobs that a PF has for each of its VFs (ip-link(8), `vf`). */
export interface VfKnobs {
  /** What the PF gives it; `00:00:00:00:00:00`: it chooses itself. */
  readonly mac: MacAddress;
  /** 0: none. */
  readonly vlan: number;
  /** The priority within the VLAN tag, 0 to 7. */
  readonly qos: number;
  readonly proto: '802.1Q' | '802.1ad';
  readonly spoofCheck: boolean;
  readonly trust: boolean;
  readonly linkState: 'auto' | 'enable' | 'disable';
  /** Whole Mbit/s in bits a second; 0: none. */
  readonly minRateBitsPerSec: number;
  /** 0: no limit. */
  readonly maxRateBitsPerSec: number;
}

/** Knobs to turn on one VF; those left out stay as they are. */
export interface VfChange extends VfName {
  readonly set: Partial<VfKnobs>;
}

/** How many VFs a PF is to have. */
export interface VfCount {
  readonly pf: string;
  readonly count: number;
  /** In the end new VFs are given to their driver at once, or not (`sriov_drivers_autoprobe`); as it was unless set. */
  readonly autoprobe?: boolean;
}

/** A network card with virtual functions, as found. */
export interface PhysicalFunction {
  readonly pf: string;
  readonly pciAddress: PciAddress;
  /** The kernel's driver: `igb`, `ixgbe`, `i40e`, `ice`, `mlx5_core`. */
  readonly driver: string;
  /** As sysfs writes it: `0x8086`. */
  readonly vendor: string;
  /** What the card can have, and has now. */
  readonly totalVfs: number;
  readonly vfCount: number;
  /** Are new VFs given to their driver at once? */
  readonly autoprobe: boolean;
  readonly carrier: boolean;
  /** Null where the link does not tell it, as while it is down. */
  readonly speedBitsPerSec: number | null;
}

/** A VF, as found. */
export interface VirtualFunction extends VfName, VfKnobs {
  readonly pciAddress: PciAddress;
  /** Its own driver (`igbvf`); null: bound to none, so it has no link. */
  readonly driver: string | null;
  /** Where its link was seen; null where it is bound and in none of the namespaces looked into. */
  readonly link: LinkName | null;
  /** The address that its link has, which is not always the one the PF gives; null without a link. */
  readonly linkMac: MacAddress | null;
}

/** What virtual functions a host has. */
export interface FoundFunctions {
  /** In order of name. */
  readonly physical: readonly PhysicalFunction[];
  /** In order of PF and number. */
  readonly virtual: readonly VirtualFunction[];
}

/** SR-IOV: virtual functions of the host's network cards. A link of theirs is moved by `links.move`. */
export interface VirtualFunctions {
  /**
   * Makes this many VFs, bound to no driver, in place of none; 0 takes all away. Returns when the PF's link is as it was:
   * the change drops it for seconds. As many as are there: their number is left as it is. EBUSY: there are some, and another number is
   * asked for; ERANGE: more than the card has; ENODEV: no such link; EOPNOTSUPP: not a PF; ETIMEDOUT: its link did not come back.
   */
  enable(counts: readonly VfCount[]): Promise<Applied>;
  /**
   * Turns knobs through the PF, all of one VF in one go. Rates wait until the PF's link is up, once for all.
   * ENODEV: no such PF; EINVAL: no such VF, or a value that it cannot have (a VLAN above 4095, a rate above the link's);
   * EOPNOTSUPP: a knob that the driver refuses, named with the driver; ENETDOWN: the link does not come up.
   */
  set(changes: readonly VfChange[]): Promise<Applied>;
  /** Gives the VF's driver; returns when its link is there. Bound already: no error. ETIMEDOUT: no link came. */
  bind(names: readonly VfName[]): Promise<Applied>;
  /** Takes its driver, and with it its link. Bound to none: no error. */
  unbind(names: readonly VfName[]): Promise<Applied>;
  /** Links are looked for in the host's own namespace and in these. A host without such cards has none. */
  list(namespaces: readonly NamespaceName[]): Promise<FoundFunctions>;
}

/** A VF as one string, for people and logs. */
export const vfKey = ({ pf, index }: VfName): string => `${pf} vf ${index}`;
