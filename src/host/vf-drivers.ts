import type { Errno } from './errors.ts';
import type { VfKnobs } from './virtual-functions.ts';

/** What the driver of a PF makes of its VFs, as its source tells (drivers/net/ethernet, Linux 6.12). */
export interface VfDriver {
  /** As the kernel calls it. */
  readonly name: string;
  /** The driver of its VFs. */
  readonly vfDriver: string;
  /** The number that the card's `sriov_totalvfs` says where nobody set fewer; many cards share it among their ports. */
  readonly vfsMax: number;
  /** Knobs that it lacks, and what that means. */
  readonly refuses: Readonly<Partial<Record<keyof VfKnobs, string>>>;
  /** When a VF's link takes an address that the PF gives while it is bound: at once, set up again, or bound again. */
  readonly macFollows: 'at once' | 'up' | 'bind';
  /** How long the PF's link is down after the number of its VFs has changed; 0: it stays up. */
  readonly linkDropMs: number;
  /** A VF that is bound while the PF's link is down gets no link. */
  readonly bindNeedsLink: boolean;
  /** Can an address that the PF gave be taken back? */
  readonly clearsMac: boolean;
  /** `enable`: does it keep a VF's link up without the wire, or only say so? */
  readonly forcesLinkUp: boolean;
  /** What the VF's driver says of an address of its own choice where the PF has given another; null: it takes it. */
  readonly ownMac: Errno | null;
  /** Is spoofing checked before anybody asks? */
  readonly checksSpoofing: boolean;
  /** The least limit of a rate, and its steps; both in bits a second. */
  readonly rateMinBitsPerSec: number;
  readonly rateStepBitsPerSec: number;
}

/** A knob as ip-link(8) calls it, for people. */
export const KNOB_WORDS: Readonly<Record<keyof VfKnobs, string>> = {
  mac: 'mac',
  vlan: 'vlan',
  qos: 'qos',
  proto: 'proto',
  spoofCheck: 'spoofchk',
  trust: 'trust',
  linkState: 'state',
  minRateBitsPerSec: 'min_tx_rate',
  maxRateBitsPerSec: 'max_tx_rate',
};

/** Why a knob does not turn. */
export interface VfRefusal {
  readonly code: Errno;
  readonly detail: string;
  /** The driver takes it without an error, and does something else, or nothing. */
  readonly silent: boolean;
}

const MBIT = 1_000_000;

const NO_MAC = '00:00:00:00:00:00';

/** The kernel says EINVAL of a guarantee and EPROTONOSUPPORT of a protocol: not the value is wrong, the driver lacks the knob. */
const NO_GUARANTEE = { minRateBitsPerSec: 'guarantees no rate' };
const ONLY_802_1Q = { proto: 'puts no tags of 802.1ad' };

/** The drivers that are known. */
export const VF_DRIVERS: readonly VfDriver[] = [
  {
    // intel/igb/igb_main.c, igbvf/netdev.c (igbvf_set_mac, igb_ndo_set_vf_mac, igb_ndo_set_vf_bw, igb_ndo_set_vf_vlan; no ndo_set_vf_link_state), and QEMU's 82576:
    // its link was gone for 2 to 4 s, 2.8 s when the VFs were taken away (measured).
    name: 'igb',
    vfDriver: 'igbvf',
    vfsMax: 7,
    refuses: { ...ONLY_802_1Q, ...NO_GUARANTEE, linkState: 'sets no state of a link' },
    macFollows: 'up',
    linkDropMs: 2800,
    bindNeedsLink: false,
    clearsMac: true,
    forcesLinkUp: false,
    ownMac: 'EADDRNOTAVAIL',
    checksSpoofing: true,
    rateMinBitsPerSec: MBIT,
    rateStepBitsPerSec: MBIT,
  },
  {
    // intel/ixgbe/ixgbe_sriov.c, ixgbevf/ixgbevf_main.c (ixgbe_ndo_set_vf_bw: more than 10 Mbit/s; ixgbe_ndo_set_vf_link_state: `enable` is told to the
    // log, and 0 returned); 63 VFs: IXGBE_MAX_VFS_DRV_LIMIT. ixgbe_sriov_reinit closes the link and opens it, as igb does: its time is igb's.
    name: 'ixgbe',
    vfDriver: 'ixgbevf',
    vfsMax: 63,
    refuses: { ...ONLY_802_1Q, ...NO_GUARANTEE },
    macFollows: 'up',
    linkDropMs: 2800,
    bindNeedsLink: true,
    clearsMac: true,
    forcesLinkUp: false,
    ownMac: 'EPERM',
    checksSpoofing: true,
    rateMinBitsPerSec: 11 * MBIT,
    rateStepBitsPerSec: MBIT,
  },
  {
    // intel/i40e/i40e_virtchnl_pf.c, iavf/iavf_main.c (i40e_ndo_set_vf_mac resets the VF, and iavf takes the new address); i40e_main.c
    // (i40e_set_bw_limit: credits of 50 Mbit/s, rounded down, at least one). The first VF makes it reset itself (i40e_pci_sriov_configure); about a second.
    name: 'i40e',
    vfDriver: 'iavf',
    vfsMax: 64,
    refuses: { ...ONLY_802_1Q, ...NO_GUARANTEE },
    macFollows: 'at once',
    linkDropMs: 1000,
    bindNeedsLink: false,
    clearsMac: true,
    forcesLinkUp: true,
    ownMac: 'EACCES',
    checksSpoofing: true,
    rateMinBitsPerSec: MBIT,
    rateStepBitsPerSec: 50 * MBIT,
  },
  {
    // intel/ice/ice_sriov.c (ice_set_vf_bw; ice_set_vf_port_vlan: 802.1ad only where the card is in double VLAN mode).
    name: 'ice',
    vfDriver: 'iavf',
    vfsMax: 256,
    refuses: ONLY_802_1Q,
    macFollows: 'at once',
    linkDropMs: 0,
    bindNeedsLink: false,
    clearsMac: true,
    forcesLinkUp: true,
    ownMac: 'EACCES',
    checksSpoofing: true,
    rateMinBitsPerSec: MBIT,
    rateStepBitsPerSec: MBIT,
  },
  {
    // mellanox/mlx5/core/esw/legacy.c, esw/qos.c, en_main.c (mlx5e_set_vf_*). A VF asks for its address when it is probed. 127 is the
    // firmware's NUM_OF_VFS at most, and whether
    // it takes no address for one is the firmware's word too: nobody who gives VFs back could count on it.
    name: 'mlx5_core',
    vfDriver: 'mlx5_core',
    vfsMax: 127,
    refuses: ONLY_802_1Q,
    macFollows: 'bind',
    linkDropMs: 0,
    bindNeedsLink: false,
    clearsMac: false,
    forcesLinkUp: true,
    ownMac: null,
    checksSpoofing: false,
    rateMinBitsPerSec: MBIT,
    rateStepBitsPerSec: MBIT,
  },
];

/** The driver of this name; undefined: nobody has read its source for us. */
export const vfDriverOf = (name: string): VfDriver | undefined => VF_DRIVERS.find((driver) => driver.name === name);

/** Is this what the knob has anyway, so that the driver need not have it? */
const isAtRest = (knob: keyof VfKnobs, value: VfKnobs[keyof VfKnobs]): boolean =>
  value === (knob === 'proto' ? '802.1Q' : knob === 'linkState' ? 'auto' : 0);

/**
 * Why this knob cannot be set to that through a PF of this driver; null: it can, as far as is known. Of a driver that is not
 * known nothing is refused but what no card can have: it is asked by trying.
 */
export function refusalOf<K extends keyof VfKnobs>(driver: string, knob: K, value: VfKnobs[K]): VfRefusal | null {
  const invalid = invalidity(knob, value);
  if (invalid !== null) return invalid;
  const known = vfDriverOf(driver);
  return known === undefined ? null : refusalBy(known, knob, value);
}

/** The same of a driver at hand, for a value that a card can have. */
export function refusalBy(driver: VfDriver, knob: keyof VfKnobs, value: VfKnobs[keyof VfKnobs]): VfRefusal | null {
  const { name, refuses, clearsMac, forcesLinkUp, rateMinBitsPerSec, rateStepBitsPerSec } = driver;
  const refuse = (code: Errno, detail: string, silent = false): VfRefusal => ({
    code,
    detail: `${KNOB_WORDS[knob]}: the driver ${name} ${detail}`,
    silent,
  });
  const lacks = refuses[knob];
  if (lacks !== undefined && !isAtRest(knob, value)) return refuse('EOPNOTSUPP', lacks);
  if (knob === 'mac' && value === NO_MAC && !clearsMac) return refuse('EINVAL', 'takes no address back');
  if (knob === 'linkState' && value === 'enable' && !forcesLinkUp)
    return refuse('EOPNOTSUPP', 'takes this, and keeps no link up without its wire', true);
  if (knob !== 'maxRateBitsPerSec' || value === 0) return null;
  if (Number(value) < rateMinBitsPerSec)
    return refuse('EINVAL', `limits no rate under ${rateMinBitsPerSec / MBIT} Mbit/s`);
  if (Number(value) % rateStepBitsPerSec === 0) return null;
  return refuse('EINVAL', `limits rates in steps of ${rateStepBitsPerSec / MBIT} Mbit/s`, true);
}

/** Can an address that a PF of this driver gave be taken back? Of one that is not known nobody counts on it. */
export const clearsMac = (driver: string): boolean => vfDriverOf(driver)?.clearsMac ?? false;

/** Why no card can have this value of a knob; null: one may. */
export function invalidity<K extends keyof VfKnobs>(knob: K, value: VfKnobs[K]): VfRefusal | null {
  const detail = whatIsWrong(knob, value);
  return detail === null ? null : { code: 'EINVAL', detail: `${KNOB_WORDS[knob]}: ${detail}`, silent: false };
}

function whatIsWrong(knob: keyof VfKnobs, value: VfKnobs[keyof VfKnobs]): string | null {
  const isWhole = Number.isSafeInteger(value) && Number(value) >= 0;
  switch (knob) {
    case 'mac':
      if (!/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/.test(String(value))) return `"${String(value)}" is no MAC address`;
      return Number.parseInt(String(value).slice(0, 2), 16) % 2 === 1 ? `${String(value)} is the MAC of a group` : null;
    case 'vlan':
      return isWhole && Number(value) <= 4095 ? null : 'a VLAN is from 0 to 4095';
    case 'qos':
      return isWhole && Number(value) <= 7 ? null : 'a priority is from 0 to 7';
    case 'minRateBitsPerSec':
    case 'maxRateBitsPerSec':
      return isWhole && Number(value) % MBIT === 0 ? null : 'a rate is whole Mbit/s';
    case 'proto':
    case 'spoofCheck':
    case 'trust':
    case 'linkState':
      return null;
  }
}
