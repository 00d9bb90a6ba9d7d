import { HostError, type Errno } from '../../src/host/errors.ts';
import {
  BRIDGE_PORTS_MAX,
  LINK_NAME_LENGTH_MAX,
  type LinkChange,
  type LinkEnd,
  type LinkName,
  type Links,
  type LinkSpec,
  type LinkState,
} from '../../src/host/links.ts';
import { inOrder } from './batch.ts';
import { addressOf, addressText, Link, type HostNetwork, type LinkType, type Space } from './network.ts';

/** The kernel's bounds (ETH_MIN_MTU, ETH_MAX_MTU: include/uapi/linux/if_ether.h). */
const MTU_MIN = 68;
const MTU_MAX = 65_535;
/** A VNI has 24 bits. */
const VNI_MAX = 0xff_ffff;

/** Links of the model. */
export const createLinks = (host: HostNetwork): Links => ({
  create: (specs) => inOrder(specs, (spec) => create(host, spec)),
  set: (changes) => inOrder(changes, (change) => set(host, change)),
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
    if (Buffer.byteLength(name) > LINK_NAME_LENGTH_MAX)
      refuse('ERANGE', `a link's name has at most ${LINK_NAME_LENGTH_MAX} characters`);
    if (!/^[^\s/:%\0]+$/.test(name) || name === '.' || name === '..') refuse('EINVAL', 'a link cannot be called so');
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
    link.mac = host.network.macs.id(mac);
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

/** Takes a port off its bridge, and what the bridge knew of it. */
function free(link: Link): void {
  const bridge = link.master;
  if (bridge === null) return;
  link.master = null;
  link.learning = true;
  link.hairpin = false;
  bridge.ports.splice(bridge.ports.indexOf(link), 1);
  for (const [mac, port] of bridge.bridgeFdb) if (port === link) bridge.bridgeFdb.delete(mac);
  recalculate(bridge);
}

/** A bridge has the lowest MAC and the least MTU of its ports, unless somebody chose them; without ports no MAC at all. */
function recalculate(bridge: Link): void {
  const { macs } = bridge.space.host.network;
  if (!bridge.macChosen) {
    const [lowest = '00:00:00:00:00:00'] = bridge.ports.map(({ mac }) => macs.text(mac)).sort();
    bridge.mac = macs.id(lowest);
  }
  if (!bridge.mtuChosen)
    bridge.mtu = bridge.ports.length === 0 ? 1500 : Math.min(...bridge.ports.map(({ mtu }) => mtu));
}

function setUp(link: Link, refuse: Refuse): void {
  // macvlan_open: no two on one parent have the same MAC.
  if (link.parent?.children.some((other) => other !== link && other.up && other.mac === link.mac) === true)
    refuse('EBUSY', `another macvlan on ${link.parent.name} has its MAC`);
  link.up = true;
}

/** With a link go its routes, its neighbours and its proxy entries, and do not come back (fib_disable_ip, neigh_ifdown); its addresses and FDB stay. */
function setDown(link: Link): void {
  link.up = false;
  link.space.routes = link.space.routes.filter((route) => route.link !== link);
  link.neighbours.clear();
  link.proxies.clear();
}

/** Takes a link away with all that hangs on it: a veth's other end, a parent's macvlans. */
export function unlink(link: Link): void {
  if (link.space.links.get(link.name) !== link) return;
  link.space.links.delete(link.name);
  setDown(link);
  free(link);
  while (link.ports[0] !== undefined) free(link.ports[0]);
  while (link.children[0] !== undefined) unlink(link.children[0]);
  link.parent?.children.splice(link.parent.children.indexOf(link), 1);
  if (link.peer !== null) unlink(link.peer);
  const { host } = link.space;
  if (host.uplink === link) host.uplink = null;
  host.network.changed();
}

function stateOf(link: Link): LinkState {
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
    ...(type === 'vxlan' && { vni: link.vni, local: addressText(link.local), udpPort: link.udpPort }),
  };
}
