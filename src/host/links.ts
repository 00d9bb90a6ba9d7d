import type { Applied } from './batch.ts';
import type { Ipv4Address, MacAddress } from './ipv4.ts';
import type { NamespaceName } from './namespaces.ts';

/** The kernel's IFNAMSIZ less its closing zero (include/uapi/linux/if.h). */
export const LINK_NAME_LENGTH_MAX = 15;

/**
 * What is wrong with a name for a new link; null: nothing. The kernel makes a name of its own from an empty one, and from one
 * with a `%` (dev_alloc_name in net/core/dev.c).
 */
export function whyNoNewName(name: string): { readonly code: 'ERANGE' | 'EINVAL'; readonly detail: string } | null {
  if (new TextEncoder().encode(name).length > LINK_NAME_LENGTH_MAX)
    return { code: 'ERANGE', detail: `a link's name has at most ${LINK_NAME_LENGTH_MAX} characters` };
  return /^[^\s/:%\0]+$/.test(name) && name !== '.' && name !== '..'
    ? null
    : { code: 'EINVAL', detail: 'a link cannot be called so' };
}

/** Ports that one bridge holds (BR_MAX_PORTS is 1024, and port 0 is not used: net/bridge/br_private.h, br_if.c). */
export const BRIDGE_PORTS_MAX = 1023;

/** A link, by where it is and what it is called there. */
export interface LinkName {
  readonly namespace: NamespaceName;
  readonly name: string;
}

/** What makes a link what it is; none of it can be changed later. */
export type LinkKind =
  /** The other end comes into being with it. */
  | { readonly type: 'veth'; readonly peer: LinkEnd }
  | { readonly type: 'bridge' }
  /** Neither learns nor floods: what no FDB entry names is dropped; it answers ARP from its own permanent neighbours. */
  | { readonly type: 'vxlan'; readonly vni: number; readonly local: Ipv4Address; readonly udpPort: number }
  /** A second address on a link of the host's own namespace (mode bridge); it may be made into any namespace. */
  | { readonly type: 'macvlan'; readonly parent: string };

/** One end of a link: where, what it is called, and the mark by which it is known again (its `ifalias`). */
export interface LinkEnd extends LinkName {
  readonly alias: string;
  /** Chosen by the kernel unless set. */
  readonly mac?: MacAddress;
  /** The kernel's default unless set. */
  readonly mtu?: number;
}

/** A link to be there, down until it is set up. */
export interface LinkSpec extends LinkEnd {
  readonly kind: LinkKind;
}

/** Settings of a link that can change while it is there; those left out stay as they are. */
export interface LinkSettings {
  readonly up?: boolean;
  readonly mtu?: number;
  readonly mac?: MacAddress;
  readonly alias?: string;
  /** The bridge it is a port of; null: none. */
  readonly master?: string | null;
  /** Of a bridge's port: does the bridge learn addresses from it? (The kernel's default: yes.) */
  readonly learning?: boolean;
  /** Of a bridge's port: may a frame go back out of the port it came in by? (The kernel's default: no.) */
  readonly hairpin?: boolean;
  /** `net.ipv4.conf.LINK.forwarding`: are packets that come in here routed on? */
  readonly forwarding?: boolean;
  /** The contrary of `net.ipv6.conf.LINK.disable_ipv6`. */
  readonly ipv6?: boolean;
}

export interface LinkChange extends LinkName {
  readonly set: LinkSettings;
}

/** A link to be elsewhere, by another name or the same. */
export interface LinkMove extends LinkName {
  readonly to: LinkName;
}

/** A link as read back from the kernel. */
export interface LinkState extends LinkName, Required<LinkSettings> {
  /** `other`: of a kind that Plimsoll does not make. */
  readonly type: LinkKind['type'] | 'loopback' | 'other';
  /** IFF_LOWER_UP: it is up, and so is what it hangs on. */
  readonly carrier: boolean;
  /** The PCI address of the card or VF whose link this is (IFLA_PARENT_DEV_NAME); undefined for one without a device. */
  readonly device?: string;
  /** The link of the same namespace that it stands on: of a macvlan, a VLAN (IFLA_LINK); undefined for one that stands alone. */
  readonly lower?: string;
  /** Its root qdisc, as tc calls it: `htb`, `noqueue`. */
  readonly qdisc: string;
  /** Of a VXLAN. */
  readonly vni?: number;
  readonly local?: Ipv4Address;
  readonly udpPort?: number;
}

/** Network links of the host's own namespace and of those in it. */
export interface Links {
  /**
   * One of that name and kind that is there is left as it is; one of another kind: EEXIST. ENODEV: a parent, or a
   * namespace, is not there. ERANGE: a name over 15 characters.
   */
  create(specs: readonly LinkSpec[]): Promise<Applied>;
  /** ENODEV where it is not there, or the master is not. EXFULL: the bridge has all the ports it can hold. */
  set(changes: readonly LinkChange[]): Promise<Applied>;
  /**
   * Takes a link of a device into another namespace, down and with no address there; one that is there already and no more
   * here is no error. ENODEV: neither here nor there, or no such namespace. EEXIST: another has the name there.
   */
  move(moves: readonly LinkMove[]): Promise<Applied>;
  /** Resolves when they pass nothing any more and their names are free; one that is gone already is no error. */
  remove(links: readonly LinkName[]): Promise<Applied>;
  /** All links of these namespaces, in order of namespace and name; of one that is not there, none. */
  list(namespaces: readonly NamespaceName[]): Promise<readonly LinkState[]>;
}
