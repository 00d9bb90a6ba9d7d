import { AddressError, type Ipv4Prefix, isWithin, overlaps, parseAddress, parsePrefix } from '../host/ipv4.ts';
import { BRIDGE_PORTS_MAX } from '../host/links.ts';
import {
  type AttachedContainer,
  hasGateway,
  isByVf,
  type NetworkDesired,
  NetworkError,
  type NetworkSpec,
} from './desired.ts';
import { TUNNEL_PORT } from './frame.ts';
import { mtuMaxOf } from './segment.ts';
import { isUsable, usable } from './shared.ts';

/** What fits no network is refused before anything is done. Ethernet's least and the most that Linux gives a veth (ETH_MIN_MTU, ETH_MAX_MTU). */
const MTU_MIN = 68;
const MTU_MAX = 65_535;

/** 127.0.0.0/8 (RFC 1122). */
const LOOPBACK_NET = 127;

/** What names become keys, marks, and names of namespaces of. */
const NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]*$/;

function checkName(about: string, name: string): void {
  if (!NAME.test(name))
    throw new NetworkError(about, 'a name is of letters, digits, "-", "_" and ".", and begins with a letter or digit');
}

/**
 * Do the networks of one host, and whoever is attached to them, make sense by themselves? `underlay` and
 * `uplinkMtu` are those of the host's uplink, where it is known. @throws NetworkError
 */
export function checkNetworks(
  { networks }: NetworkDesired,
  containers: readonly AttachedContainer[],
  underlay?: Ipv4Prefix,
  uplinkMtu?: number,
): void {
  for (const spec of networks) checkSpec(spec, underlay, uplinkMtu);
  const names = new Set<string>();
  for (const { name } of networks) {
    if (names.has(name)) throw new NetworkError(`network ${name}`, 'it is there twice: name each once');
    names.add(name);
  }
  checkOverlaps(networks, underlay);
  const specs = new Map(networks.map((spec) => [spec.name, spec]));
  const attached = new Set<string>();
  for (const container of containers) {
    checkContainer(container, specs);
    if (attached.has(container.name)) throw new NetworkError(container.name, 'it is there twice: name each once');
    attached.add(container.name);
  }
  checkSize(containers, specs);
  checkAcross(containers);
}

function checkSpec(spec: NetworkSpec, underlay: Ipv4Prefix | undefined, uplinkMtu: number | undefined): void {
  const about = `network ${spec.name}`;
  checkName(about, spec.name);
  const refuse = (message: string): never => {
    throw new NetworkError(about, message);
  };
  const segment = readable(about, spec.pool, parsePrefix);
  if (segment.address !== segment.first)
    refuse(`${spec.pool} is an address in a network, not a network: its host bits must be 0`);
  if (spec.internal && spec.nat) refuse('it cannot be internal and have a way out: leave out one of internal and nat');
  if (!isBridged(spec) && (spec.internal || spec.nat))
    refuse(`internal and nat are not for an ${spec.kind === 'intranet' ? 'intranet' : 'SR-IOV network'}`);
  if (isByVf(spec) !== (spec.vf !== undefined))
    refuse('"vf" is for SR-IOV networks, and for an intranet by VFs: these need it');
  if (spec.kind !== 'sriov' && spec.gateway !== undefined) refuse('"gateway" is for an SR-IOV network alone');
  if (spec.gateway !== undefined) checkGateway(about, spec, spec.gateway);
  if (spec.kind !== 'intranet' && spec.by !== undefined) refuse('"by" is for an intranet alone');
  if (usable(spec).highest < usable(spec).lowest) refuse(`${spec.pool} has no address for a container: make it larger`);
  if (spec.mtu !== undefined && !(Number.isInteger(spec.mtu) && spec.mtu >= MTU_MIN && spec.mtu <= MTU_MAX))
    refuse(`mtu ${spec.mtu} is not between ${MTU_MIN} and ${MTU_MAX}`);
  if (spec.mtu !== undefined && uplinkMtu !== undefined && spec.mtu > mtuMaxOf(spec, uplinkMtu))
    refuse(
      `mtu ${spec.mtu} is more than the uplink's ${uplinkMtu} has room for: at most ${mtuMaxOf(spec, uplinkMtu)}, or larger packets vanish`,
    );
  if (spec.kind === 'intranet' && underlay !== undefined && !covers(underlay, spec.pool))
    refuse(`${spec.pool} is not part of the underlay ${underlay}: an intranet address must be one of it`);
}

const isBridged = ({ kind }: NetworkSpec): boolean => kind === 'bridge' || kind === 'overlay';

function checkGateway(about: string, spec: NetworkSpec, gateway: string): void {
  const { lowest, highest } = usable(spec);
  const number = readable(about, gateway, parseAddress);
  if (number < lowest || number > highest)
    throw new NetworkError(about, `gateway ${gateway} is no address of a host in ${spec.pool}`);
}

const covers = (outer: Ipv4Prefix, inner: Ipv4Prefix): boolean => {
  const [out, within] = [parsePrefix(outer), parsePrefix(inner)];
  return out.first <= within.first && within.last <= out.last;
};

/** Tenants may have the same segment as long as the host routes none of them: what it routes must be one network's alone. */
function checkOverlaps(networks: readonly NetworkSpec[], underlay: Ipv4Prefix | undefined): void {
  const routed = networks.filter((spec) => spec.kind === 'intranet' || hasGateway(spec));
  for (const [index, spec] of routed.entries()) {
    const other = routed.slice(0, index).find(({ pool }) => overlaps(pool, spec.pool));
    if (other !== undefined)
      throw new NetworkError(
        `network ${spec.name}`,
        `its pool ${spec.pool} overlaps ${other.pool} of network ${other.name}, and the host routes both: give it another pool, or no way out`,
      );
    if (hasGateway(spec) && underlay !== undefined && overlaps(spec.pool, underlay))
      throw new NetworkError(
        `network ${spec.name}`,
        `its pool ${spec.pool} overlaps the underlay ${underlay}, and the host routes both: give it another pool`,
      );
  }
}

function checkContainer({ name, attachments = [] }: AttachedContainer, specs: ReadonlyMap<string, NetworkSpec>): void {
  const seen = new Set<string>();
  const segments: NetworkSpec[] = [];
  if (attachments.length > 0) checkName(name, name);
  for (const { network, address, publish } of attachments) {
    const spec = specs.get(network);
    if (spec === undefined)
      throw new NetworkError(
        name,
        `it is attached to network ${network}, which is not there: ask for the network, or detach it first`,
      );
    if (seen.has(network)) throw new NetworkError(name, `it is attached to network ${network} twice`);
    seen.add(network);
    const clash = spec.kind === 'intranet' ? undefined : segments.find(({ pool }) => overlaps(pool, spec.pool));
    if (clash !== undefined)
      throw new NetworkError(
        name,
        `networks ${clash.name} and ${network} have the same addresses (${clash.pool}, ${spec.pool}): it could not tell them apart`,
      );
    if (spec.kind !== 'intranet') segments.push(spec);
    if (address !== undefined) {
      readable(name, address, parseAddress);
      if (!isUsable(spec, address))
        throw new NetworkError(
          name,
          isWithin(address, spec.pool)
            ? `address ${address} is the network's own (its first and last, and the gateway's): choose another of ${spec.pool}`
            : `address ${address} is outside the pool ${spec.pool} of network ${network}`,
        );
    }
    if (publish.length > 0 && !hasGateway(spec))
      throw new NetworkError(
        name,
        !isBridged(spec)
          ? `its containers are on the wire of network ${network} themselves: nothing of it is published`
          : spec.internal
            ? `network ${network} is internal: nothing of it can be published; give the container an intranet address`
            : `network ${network} has no way in: set nat: true, or give the container an intranet address`,
      );
    for (const { protocol, hostPort, containerPort, hostAddress } of publish) {
      if (protocol === 'udp' && hostPort === TUNNEL_PORT)
        throw new NetworkError(name, `port ${TUNNEL_PORT}/udp of the host is its tunnels': choose another`);
      for (const port of [hostPort, containerPort])
        if (!Number.isInteger(port) || port < 1 || port > 65_535)
          throw new NetworkError(name, `port ${port} is not between 1 and 65535`);
      if (hostAddress !== undefined && readable(name, hostAddress, parseAddress) >>> 24 === LOOPBACK_NET)
        throw new NetworkError(
          name,
          `${hostAddress} is a loopback address, which nobody but the host can ask: publish at another, or at all`,
        );
    }
  }
}

/** A bridge has so many ports, one of them an overlay's tunnels. */
function checkSize(containers: readonly AttachedContainer[], specs: ReadonlyMap<string, NetworkSpec>): void {
  const counts = new Map<string, number>();
  for (const { name, attachments = [] } of containers)
    for (const { network } of attachments) {
      const count = (counts.get(network) ?? 0) + 1;
      counts.set(network, count);
      const { kind } = specs.get(network)!;
      const most = kind === 'overlay' ? BRIDGE_PORTS_MAX - 1 : BRIDGE_PORTS_MAX;
      if ((kind === 'bridge' || kind === 'overlay') && count > most)
        throw new NetworkError(
          name,
          `network ${network} has ${most} containers on this host, which is all a bridge holds`,
        );
    }
}

/** One host port leads to one container, and one address of one segment to one. */
function checkAcross(containers: readonly AttachedContainer[]): void {
  const ports = new Map<string, { readonly name: string; readonly hostAddress: string | undefined }[]>();
  const addresses = new Map<string, string>();
  for (const { name, attachments = [] } of containers) {
    for (const { network, address, publish } of attachments) {
      for (const { protocol, hostPort, hostAddress } of publish) {
        const others = ports.get(`${hostPort}/${protocol}`) ?? [];
        const holder = others.find(
          (other) => (other.hostAddress ?? hostAddress) === (hostAddress ?? other.hostAddress),
        );
        if (holder !== undefined)
          throw new NetworkError(
            name,
            `port ${hostPort}/${protocol} of the host is published by ${holder.name} already`,
          );
        ports.set(`${hostPort}/${protocol}`, [...others, { name, hostAddress }]);
      }
      if (address === undefined) continue;
      const holder = addresses.get(`${network} ${address}`);
      if (holder !== undefined)
        throw new NetworkError(name, `address ${address} of network ${network} is asked for by ${holder} too`);
      addresses.set(`${network} ${address}`, name);
    }
  }
}

function readable<T>(about: string, text: string, parse: (text: string) => T): T {
  try {
    return parse(text);
  } catch (error) {
    if (error instanceof AddressError) throw new NetworkError(about, error.message);
    throw error;
  }
}
