import { HostError, type Errno } from '../../src/host/errors.ts';
import {
  BRIDGE_PORTS_MAX,
  type LinkChange,
  type LinkEnd,
  type LinkName,
  type Links,
  type LinkSpec,
  type LinkState,
  whyNoNewName,
} from '../../src/host/links.ts';
import { inOrder } from './batch.ts';
import { free, recalculate, setDown, unlink } from './link-life.ts';
import { move } from './link-move.ts';
import { addressOf, addressText, Link, type HostNetwork, type LinkType, type Space } from './network.ts';
import { NO_MAC } from './nic.ts';

/** The kernel's bounds (ETH_MIN_MTU, ETH_MAX_MTU: include/uapi/linux/if_ether.h). */
const MTU_MIN = 68;
const MTU_MAX = 65_535;
/** A VNI has 24 bits. */
const VNI_MAX = 0xff_ffff;

/** Links of the model. */
export const createLinks = (host: HostNetwork): Links => ({
  create: (specs) => inOrder(specs, (spec) => create(host, spec)),
  set: (changes) => inOrder(changes, (change) => set(host, change)),
  move: (moves) => inOrder(moves, (each) => move(host, each)),
  remove: (links) =>
    inOrder(links, (name) => {
      const link = host.spaces.get(name.namespace)?.links.get(name.name);
      if (link === undefined) return;
      if (link.type === 'loopback' || link.type === 'other')
        throw refusal('EOPNOTSUPP', 'remove', name, 'it is a device of the machine, which cannot be removed');
      unlink(link);
    }),
  list: async (namespaces) =>
    [...new Set(namespaces)]
      .sort()
      .flatMap((namespace) => [...(host.spaces.get(namespace)?.links.values() ?? [])].sort(byName).map(stateOf)),
});

const byName = (a: Link, b: Link): number => (a.name < b.name ? -1 : 1);

const targetOf = ({ namespace, name }: LinkName): string => (namespace === '' ? name : `${namespace}: ${name}`);

const refusal = (code: Errno, verb: string, link: LinkName, detail: string): HostError =>
  new HostError(code, `links.${verb}`, targetOf(link), { detail });

function create(host: HostNetwork, spec: LinkSpec): void {
  const { kind } = spec;
  const refuse = (code: Errno, detail: string): never => {
    throw refusal(code, 'create', spec, detail);
  };
  const ends: readonly LinkEnd[] = kind.type === 'veth' ? [spec, kind.peer] : [spec];
  for (const { name, mtu, mac } of ends) {
    const why = whyNoNewName(name);
    if (why !== null) refuse(why.code, why.detail);
    if (mtu !== undefined) checkMtu(mtu, kind.type, (detail) => refuse('EINVAL', detail));
    if (mac !== undefined) checkMac(mac, refuse);
  }
  const spaces = ends.map(
    ({ namespace }) => host.spaces.get(namespace) ?? refuse('ENODEV', `there is no namespace ${namespace}`),
  );
  if (isThere(host, spec)) return;
  const parent = kind.type === 'macvlan' ? parentOf(host, kind.parent, refuse) : null;
  if (ends.some((end, index) => spaces[index]!.links.has(end.name))) refuse('EEXIST', 'another link has the name');
  if (ends.length === 2 && spaces[0] === spaces[1] && ends[0]!.name === ends[1]!.name)
    refuse('EEXIST', 'both ends have one name');
  if (kind.type === 'vxlan') checkVxlan(spaces[0]!, kind.vni, kind.udpPort, refuse);
  const [link, peer] = ends.map((end, index) => make(spaces[index]!, end, kind.type));
  if (link === undefined) return;
  if (peer !== undefined) {
    link.peer = peer;
    peer.peer = link;
  }
  if (parent !== null) {
    link.parent = parent;
    link.mtu = spec.mtu ?? parent.mtu;
    parent.children.push(link);
  }
  if (kind.type === 'vxlan') {
    link.vni = kind.vni;
    link.local = addressOf(kind.local);
    link.udpPort = kind.udpPort;
  }
  host.network.changed();
}

type Refuse = (code: Errno, detail: string) => never;

function make(space: Space, { name, alias, mac, mtu }: LinkEnd, type: LinkType): Link {
  const { network } = space.host;
  const link = new Link(space, name, type, mac === undefined ? network.randomMac() : network.macs.id(mac));
  link.macChosen = mac !== undefined;
  link.mtuChosen = mtu !== undefined;
  link.alias = alias;
  if (mtu !== undefined) link.mtu = mtu;
  return link;
}

function checkMtu(mtu: number, type: LinkType, refuse: (detail: string) => never): void {
  const max = type === 'loopback' ? Number.MAX_SAFE_INTEGER : MTU_MAX;
  if (!(mtu >= MTU_MIN && mtu <= max)) refuse(`an MTU is from ${MTU_MIN} to ${MTU_MAX}`);
}

function checkMac(mac: string, refuse: Refuse): void {
  if (!/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/.test(mac)) refuse('EINVAL', `"${mac}" is no MAC address`);
  // Of a group, or none (is_valid_ether_addr).
  if (Number.parseInt(mac.slice(0, 2), 16) % 2 === 1 || mac === '00:00:00:00:00:00')
    refuse('EADDRNOTAVAIL', `${mac} is no MAC address that a link can have`);
}

function checkVxlan(space: Space, vni: number, udpPort: number, refuse: Refuse): void {
  if (!(vni >= 0 && vni <= VNI_MAX)) refuse('EINVAL', `a VNI is from 0 to ${VNI_MAX}`);
  for (const other of space.links.values())
    if (other.type === 'vxlan' && other.vni === vni && other.udpPort === udpPort)
      refuse('EEXIST', `${other.name} has VNI ${vni} at UDP port ${udpPort} already`);
}

/** A VF's driver asks its PF, which lets it have no other than the one that was given, unless it trusts it. */
function checkOwnMac({ vf }: Link, mac: string, refuse: Refuse): void {
  if (vf === null || vf.knobs.trust || vf.knobs.mac === NO_MAC || vf.knobs.mac === mac) return;
  const { ownMac } = vf.nic.driver;
  if (ownMac !== null) refuse(ownMac, `its PF has given it the MAC ${vf.knobs.mac}`);
}

/** The link on which a macvlan comes to sit: of another macvlan that one's own parent. */
function parentOf(host: HostNetwork, name: string, refuse: Refuse): Link {
  const link = host.own.links.get(name) ?? refuse('ENODEV', `its parent ${name} is not there`);
  const parent = link.parent ?? link;
  if (parent.master !== null) refuse('EBUSY', `its parent ${name} is a port of ${parent.master.name}`);
  if (parent.type === 'loopback') refuse('EINVAL', 'lo has no wire');
  return parent;
}

/** Is this very link there? */
function isThere(host: HostNetwork, { namespace, name, kind }: LinkSpec): boolean {
  const link = host.spaces.get(namespace)?.links.get(name);
  if (link?.type !== kind.type) return false;
  switch (kind.type) {
    case 'bridge':
      return true;
    case 'vxlan':
      return link.vni === kind.vni && link.local === addressOf(kind.local) && link.udpPort === kind.udpPort;
    case 'veth':
      return link.peer === host.spaces.get(kind.peer.namespace)?.links.get(kind.peer.name);
    case 'macvlan': {
      const parent = host.own.links.get(kind.parent);
      return link.parent === (parent?.parent ?? parent);
    }
  }
}

function set(host: HostNetwork, change: LinkChange): void {
  const refuse: Refuse = (code, detail) => {
    throw refusal(code, 'set', change, detail);
  };
  const space = host.spaces.get(change.namespace) ?? refuse('ENODEV', `there is no namespace ${change.namespace}`);
  const link = space.links.get(change.name) ?? refuse('ENODEV', 'no such link');
  const { up, mtu, mac, alias, master, learning, hairpin, forwarding, ipv6 } = change.set;
  const bridge =
    master == null ? null : (space.links.get(master) ?? refuse('ENODEV', `its master ${master} is not there`));
  if (mtu !== undefined) checkMtu(mtu, link.type, (detail) => refuse('EINVAL', detail));
  if (mac !== undefined) {
    checkMac(mac, refuse);
    checkOwnMac(link, mac, refuse);
    link.changeMac(host.network.macs.id(mac));
    link.macChosen = true;
    if (link.master !== null) recalculate(link.master);
  }
  if (mtu !== undefined) {
    link.mtu = mtu;
    link.mtuChosen = true;
    if (link.master !== null) recalculate(link.master);
    // A macvlan is no larger than what it sits on (macvlan_device_event).
    for (const child of link.children) child.mtu = Math.min(child.mtu, mtu);
  }
  if (alias !== undefined) link.alias = alias;
  host.network.changed();
  if (master !== undefined) enslave(link, bridge, refuse);
  if ((learning !== undefined || hairpin !== undefined) && link.master === null)
    refuse('EOPNOTSUPP', 'it is no port of a bridge');
  if (learning !== undefined) link.learning = learning;
  if (hairpin !== undefined) link.hairpin = hairpin;
  if (forwarding !== undefined) link.forwarding = forwarding;
  if (ipv6 !== undefined) link.ipv6 = ipv6;
  if (up === true) setUp(link, refuse);
  else if (up === false && link.up) setDown(link);
}

function enslave(link: Link, bridge: Link | null, refuse: Refuse): void {
  if (link.master === bridge) return;
  if (bridge !== null) {
    if (bridge.type !== 'bridge') refuse('EOPNOTSUPP', `its master ${bridge.name} is no bridge`);
    if (link.type === 'bridge' || link.type === 'loopback') refuse('EINVAL', 'such a link cannot be a port');
    if (link.children.length > 0) refuse('EBUSY', 'macvlans sit on it');
    if (bridge.ports.length >= BRIDGE_PORTS_MAX) refuse('EXFULL', `${bridge.name} has ${BRIDGE_PORTS_MAX} ports`);
  }
  free(link);
  if (bridge === null) return;
  link.master = bridge;
  bridge.ports.push(link);
  bridge.hadPorts = true;
  recalculate(bridge);
}

function setUp(link: Link, refuse: Refuse): void {
  // macvlan_open: no two on one parent have the same MAC.
  if (link.parent?.children.some((other) => other !== link && other.up && other.mac === link.mac) === true)
    refuse('EBUSY', `another macvlan on ${link.parent.name} has its MAC`);
  if (link.up) return;
  link.up = true;
  if (link.vf !== null) link.vf.opened();
  else link.nic?.reset();
}

function stateOf(link: Link): LinkState {
  const device = (link.vf ?? link.nic)?.pciAddress;
  const { space, name, type, up, carrier, mtu, mac, alias, master, learning, hairpin, forwarding, ipv6 } = link;
  return {
    namespace: space.name,
    name,
    type,
    up,
    carrier,
    mtu,
    mac: space.host.network.macs.text(mac),
    alias,
    master: master?.name ?? null,
    learning,
    hairpin,
    forwarding,
    ipv6,
    // What the kernel attaches by itself to a link without a queue of its own, once it is up (attach_default_qdiscs).
    qdisc: link.qdisc?.type ?? (up ? 'noqueue' : 'noop'),
    ...(link.parent !== null && link.parent.space === space && { lower: link.parent.name }),
    ...(device !== undefined && { device }),
    ...(type === 'vxlan' && { vni: link.vni, local: addressText(link.local), udpPort: link.udpPort }),
  };
}
