import type { Link, Space } from './network.ts';

/** Takes a port off its bridge, and what the bridge knew of it. */
export function free(link: Link): void {
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
export function recalculate(bridge: Link): void {
  const { macs } = bridge.space.host.network;
  if (!bridge.macChosen) {
    const [lowest = '00:00:00:00:00:00'] = bridge.ports.map(({ mac }) => macs.text(mac)).sort();
    bridge.changeMac(macs.id(lowest));
  }
  if (!bridge.mtuChosen)
    bridge.mtu = bridge.ports.length === 0 ? 1500 : Math.min(...bridge.ports.map(({ mtu }) => mtu));
}

/** With a link go its routes, its neighbours and its proxy entries, and do not come back (fib_disable_ip, neigh_ifdown); its addresses and FDB stay. */
export function setDown(link: Link): void {
  link.up = false;
  link.space.routes = link.space.routes.filter((route) => route.link !== link);
  link.neighbours.clear();
  link.learned.clear();
  link.introduced.clear();
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

/**
 * Takes a link elsewhere (dev_change_net_namespace, net/core/dev.c): down, off its bridge, without addresses and with the
 * settings of a new one; its MAC, MTU, alias and macvlans stay.
 */
export function moveLink(link: Link, space: Space, name: string): void {
  setDown(link);
  free(link);
  for (const { address } of link.addresses.splice(0)) forgetSource(link.space, address);
  link.forwarding = false;
  link.ipv6 = false;
  link.qdisc = null;
  link.moveTo(space, name);
  space.host.network.changed();
}

/** With an address go the routes that have it as their source (fib_sync_down_addr). */
export function forgetSource(space: Space, address: number): void {
  for (const link of space.links.values()) if (link.addresses.some((each) => each.address === address)) return;
  space.routes = space.routes.filter(({ source }) => source !== address);
}
