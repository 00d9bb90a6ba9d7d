import { BROADCAST, type Link, type Network } from './network.ts';

/** Who is to be found in one VLAN. */
interface Segment {
  readonly everywhere: Link[];
  readonly promiscuous: Link[];
  readonly byMac: Map<number, Link[]>;
}

/** What was found out of the fabric under one revision: its VLANs. */
export interface Fabric {
  readonly revision: number;
  readonly segments: ReadonlyMap<number, Segment>;
}

const NOBODY: readonly Link[] = [];

/** Over a VLAN's number: tags of 802.1ad, which those of 802.1Q never meet. */
const SERVICE_TAG = 0x1000;

/** In which VLAN a link of the fabric is; 0: in none. */
function vlanOf({ vf }: Link): number {
  if (vf === null || vf.knobs.vlan === 0) return 0;
  return vf.knobs.proto === '802.1Q' ? vf.knobs.vlan : vf.knobs.vlan | SERVICE_TAG;
}

/**
 * The links of the fabric that get a frame to this MAC from there: whose own it is, behind whose macvlans it is, or that are
 * ports of a bridge. The fabric is one switch that joins all hosts' uplinks and cards, and the VFs on these; it knows VLANs.
 */
export function takersOf(from: Link, mac: number): readonly Link[] {
  const segment = fabricOf(from.space.host.network).segments.get(vlanOf(from));
  if (segment === undefined) return NOBODY;
  return mac === BROADCAST ? segment.everywhere : (segment.byMac.get(mac) ?? segment.promiscuous);
}

/** Is there a way between these: on one card, or by the wires of both? */
export const isJoined = (a: Link, b: Link): boolean =>
  (a.nic !== null && a.nic === b.nic) || (hasWire(a) && hasWire(b));

function fabricOf(network: Network): Fabric {
  if (network.fabric?.revision === network.revision) return network.fabric;
  return (network.fabric = { revision: network.revision, segments: segmentsOf(stationsOf(network)) });
}

const stationsOf = (network: Network): Link[] =>
  [...network.hosts.values()].flatMap(({ uplink, nics }) => [
    ...new Set([
      ...(uplink === null ? [] : [uplink]),
      ...nics.all.flatMap(({ link, vfs }) => [link, ...vfs.flatMap((vf) => vf.link ?? [])]),
    ]),
  ]);

function segmentsOf(stations: readonly Link[]): Map<number, Segment> {
  const segments = new Map<number, Segment>();
  for (const station of stations) {
    const vlan = vlanOf(station);
    const segment: Segment = segments.get(vlan) ?? { everywhere: [], promiscuous: [], byMac: new Map() };
    segments.set(vlan, segment);
    segment.everywhere.push(station);
    if (isPromiscuous(station)) segment.promiscuous.push(station);
  }
  for (const station of stations) {
    const { byMac, promiscuous } = segments.get(vlanOf(station))!;
    for (const mac of macsOf(station)) {
      const takers = byMac.get(mac) ?? [...promiscuous];
      if (!takers.includes(station)) takers.push(station);
      byMac.set(mac, takers);
    }
  }
  return segments;
}

const hasWire = ({ nic }: Link): boolean => nic === null || nic.carrier;

/** A card gives a VF all frames only where it trusts it. */
const isPromiscuous = ({ master, vf }: Link): boolean => master !== null && (vf === null || vf.knobs.trust);

/** What a link has asked the fabric for; a card filters what its VFs ask for. */
function macsOf(link: Link): number[] {
  const { macs } = link.space.host.network;
  const own = [link, ...link.children].map(({ mac }) => mac);
  return link.vf === null ? own : [...own, macs.id(link.vf.knobs.mac)].filter((mac) => link.vf!.owns(mac));
}
