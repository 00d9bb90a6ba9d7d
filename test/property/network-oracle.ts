// Who may reach whom, said from DESIGN.md ("Networks, in two rules") and from the docstrings of src/network/desired.ts and
// frame.ts alone: nothing here knows bridges, tunnels, tables or filters.
import { formatAddress, isWithin, parsePrefix } from '../../src/host/ipv4.ts';
import type { NetworkSpec, PublishedPort } from '../../src/network/desired.ts';

/** Where everybody answers, hosts too. */
export const SERVICE_PORT = 7007;

/** A host's own for tunnels. */
export const TUNNEL = 47_890;

/** A container's place in a network, with the address that it was given there. */
export interface Member {
  readonly host: string;
  readonly container: string;
  readonly network: NetworkSpec;
  readonly address: string;
  readonly publish: readonly PublishedPort[];
}

/** Everybody there is. */
export interface World {
  /** `outside`: a machine that Plimsoll does not run on. */
  readonly hosts: readonly { readonly name: string; readonly address: string; readonly outside: boolean }[];
  readonly members: readonly Member[];
}

/** One packet, and who sends it; of a host itself the container is empty. */
export interface Question {
  readonly host: string;
  readonly container: string;
  readonly to: string;
  readonly protocol: 'udp' | 'icmp';
  readonly port: number;
  readonly forgedSource?: string;
}

/** Who gets it and answers, as the port names them; null: nobody. */
export interface Answer {
  readonly by: string | null;
  /** The source that it must come with, where that is said. */
  readonly seenFrom?: string;
}

/** Undefined: nothing says. */
type Saying = Answer | undefined;

const NOBODY: Answer = { by: null };

/** What must become of it. */
export function saying(world: World, question: Question): Saying {
  const { host, container, forgedSource } = question;
  if (forgedSource !== undefined) return ofForged(world, question, forgedSource);
  if (container !== '') return ofContainer(world, question);
  return isOutside(world, host) ? ofOutside(world, question) : ofHost(world, question);
}

const isOutside = ({ hosts }: World, name: string): boolean => hosts.some((host) => host.name === name && host.outside);
const uplinkOf = ({ hosts }: World, name: string): string => hosts.find((host) => host.name === name)!.address;
const placesOf = ({ members }: World, { host, container }: Question): Member[] =>
  members.filter((member) => member.host === host && member.container === container);

const isSegment = ({ network }: Member): boolean => network.kind !== 'intranet';
const isOnWire = ({ network }: Member): boolean => network.kind === 'intranet' && network.by === 'macvlan';
/** The first address of a segment with a way out is its host's. */
const gatewayOf = ({ pool }: NetworkSpec): string => formatAddress(parsePrefix(pool).first + 1);
const labelOf = ({ host, container }: Pick<Member, 'host' | 'container'>): string => `${host}/${container}`;

/** The one of these places whose segment an address lies in. */
const segmentWith = (places: readonly Member[], to: string): Member | undefined =>
  places.find((place) => isSegment(place) && isWithin(to, place.network.pool));

/** A kernel answers ICMP; UDP whoever listens, everybody at one port. */
function served(by: string, { protocol, port }: Question, seenFrom?: string): Answer {
  if (protocol === 'icmp') return { by: 'kernel' };
  if (port !== SERVICE_PORT) return NOBODY;
  return { by, ...(seenFrom !== undefined && { seenFrom }) };
}

function ofContainer(world: World, question: Question): Saying {
  const { to, port, protocol, host } = question;
  const places = placesOf(world, question);
  if (places.some(({ address }) => address === to)) return served(labelOf(question), question, to);
  const segment = segmentWith(places, to);
  const wire = places.find(isOnWire);
  // Whoever gets to speak to a tunnel's end speaks in any network's name.
  if (protocol === 'udp' && port === TUNNEL && world.hosts.some(({ address }) => address === to)) {
    const hasTunnels = world.members.some((member) => member.host === hostWith(world, to));
    return wire === undefined || hasTunnels ? NOBODY : undefined;
  }
  if (segment !== undefined) return inSegment(world, question, segment);
  if (places.some(({ network }) => network.nat)) return byHostOf(world, question, host);
  // Nothing begins from an intranet address; only, of a macvlan nothing says that it is held back.
  return wire === undefined ? NOBODY : undefined;
}

/** A bridge network is each host's own; an overlay is one over all. */
function inSegment(world: World, question: Question, { network, host, address }: Member): Answer {
  const { to } = question;
  if (network.nat && to === gatewayOf(network)) return atHost(world, question, host);
  const other = world.members.find(
    (each) =>
      each.network.name === network.name && each.address === to && (network.kind === 'overlay' || each.host === host),
  );
  return other === undefined ? NOBODY : served(labelOf(other), question, address);
}

/** As far as a host's own address gets: hosts, what they publish, and intranet addresses; never another segment. */
function byHostOf(world: World, question: Question, host: string): Saying {
  const { to } = question;
  if (isAddressOf(world, host, to)) return atHost(world, question, host);
  const seenFrom = uplinkOf(world, host);
  const other = hostWith(world, to);
  if (other !== undefined) return atHost(world, question, other, seenFrom);
  const serving = world.members.find((member) => !isSegment(member) && member.address === to);
  if (serving !== undefined) {
    // The own host cannot reach a macvlan, and so nobody who goes by it.
    if (isOnWire(serving) && serving.host === host) return NOBODY;
    return served(labelOf(serving), question, serving.host === host ? undefined : seenFrom);
  }
  return isGatewayElsewhere(world, to) ? undefined : NOBODY;
}

function ofHost(world: World, question: Question): Saying {
  const { host, to } = question;
  // A host is the gateway of its own containers that have a way out.
  const behind = world.members.find(
    (member) => member.host === host && isSegment(member) && member.network.nat && member.address === to,
  );
  if (behind !== undefined) return served(labelOf(behind), question);
  const answer = byHostOf(world, question, host);
  return answer && { by: answer.by };
}

function ofOutside(world: World, question: Question): Saying {
  const { host, to } = question;
  const other = hostWith(world, to);
  const source = uplinkOf(world, host);
  if (other !== undefined) return atHost(world, question, other, source);
  const serving = world.members.find((member) => !isSegment(member) && member.address === to);
  if (serving !== undefined) return served(labelOf(serving), question, source);
  return isGatewayElsewhere(world, to) ? undefined : NOBODY;
}

/** Of the addresses that are a host's own: whoever published the port there, else the host itself. */
function atHost(world: World, question: Question, host: string, seenFrom?: string): Answer {
  const { protocol, port, to } = question;
  const published =
    protocol === 'udp'
      ? world.members
          .filter((member) => member.host === host)
          .flatMap((member) => member.publish.map((each) => ({ member, ...each })))
          .find((each) => each.protocol === 'udp' && each.hostPort === port && (each.hostAddress ?? to) === to)
      : undefined;
  if (published === undefined) return served(`${host}/`, question, seenFrom);
  return served(labelOf(published.member), { ...question, port: published.containerPort }, seenFrom);
}

const hostWith = ({ hosts }: World, to: string): string | undefined =>
  hosts.find(({ address }) => address === to)?.name;

/** Its uplink's, and of networks with a way out that it takes part in the gateway's. */
const isAddressOf = (world: World, host: string, to: string): boolean =>
  hostWith(world, to) === host ||
  world.members.some((member) => member.host === host && member.network.nat && gatewayOf(member.network) === to);

/** Nothing says who may ask a host at the gateway's address of another network. */
const isGatewayElsewhere = ({ members }: World, to: string): boolean =>
  members.some(({ network }) => network.nat && gatewayOf(network) === to);

/** A container sends with its own address in that very network, or not at all. */
function ofForged(world: World, question: Question, forged: string): Saying {
  const places = placesOf(world, question);
  const { to } = question;
  if (places.some(({ address }) => address === to)) return undefined;
  const segment = segmentWith(places, to);
  if (segment === undefined && places.some((place) => isOnWire(place) || place.address === forged)) return undefined;
  return segment?.address === forged ? undefined : NOBODY;
}
