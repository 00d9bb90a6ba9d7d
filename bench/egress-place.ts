import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { execa } from 'execa';
import { makeOwnNamespace, ownNamespaceOf, removeNetwork } from '../backends/linux/fabric.ts';
import { NetworkRoot } from '../backends/linux/netns.ts';
import { runMark } from '../backends/linux/owner.ts';
import { linuxProbes } from '../backends/linux/probes.ts';
import { ENTRIES } from '../src/commands/backend/linux.ts';
import { MARKS, type ShapingState } from '../src/egress/picture.ts';
import type { Firewall, FirewallElement } from '../src/host/firewall.ts';
import type { Shaper, ShaperObject } from '../src/host/shaper.ts';
import type { Probes } from '../src/host/probes.ts';
import type { NetworkSpec } from '../src/network/desired.ts';
import { FRAME } from '../src/network/frame.ts';
import { portName } from '../src/network/names.ts';
import type { Endpoint } from '../src/network/picture.ts';
import { endpointOf, networkPicture } from './nic/paths/nat.ts';
import { linuxPathHost } from './nic/path-host.ts';
import { insist, layPicture } from './nic/picture.ts';
import { OWN_WIRE, ownWire, SINK } from './nic/wire.ts';

export const UPLINK = OWN_WIRE.uplink.link;
export const SINK_ADDRESS = OWN_WIRE.sink;
/** Frames to it reach the sink, and nobody takes them: the cheapest end there is (PACKET_OTHERHOST, net/ipv4/ip_input.c). */
export const NOBODY = '198.18.0.9';
const NOBODYS = { kind: 'neighbour', namespace: '', link: UPLINK, address: NOBODY, mac: '02:00:00:00:00:09' } as const;
/** Room for 16,000 addresses: more containers than one bridge can have ports, all but a few of which are on paper. */
const NETWORK: NetworkSpec = { name: 'bench', kind: 'bridge', pool: '10.88.0.0/18', internal: false, nat: true };
const SEGMENT = { spec: NETWORK, peers: [] };

/** A container as it is known to the filter. */
export interface BenchContainer {
  readonly name: string;
  readonly port: string;
  readonly address: string;
}

/** One host: containers -> veth -> bridge -> route, NAT -> uplink -> sink, laid as the product lays it. */
export interface EgressPlace {
  readonly root: NetworkRoot;
  readonly firewall: Firewall;
  readonly shaper: Shaper;
  /** A link that nothing shapes yet, and what this kernel has for it. */
  readonly unshaped: ShapingState;
  /** Lays objects of the shaper. */
  shape(objects: readonly ShaperObject[]): Promise<void>;
  readonly probes: Probes;
  /** All that the filter knows of, those first that are really there, in namespaces of their names. */
  readonly containers: readonly BenchContainer[];
  /** Packets that came out of the uplink since it is there. */
  wirePackets(): number;
  close(): Promise<void>;
}

export interface EgressPlaceOptions {
  readonly name: string;
  /** So many containers the filter knows of. */
  readonly known: number;
  /** So many of them are there. */
  readonly real: number;
  /** The first of these send TCP in frames, and not in 64 KiB at once. */
  readonly inFrames: number;
}

/** Makes the place; all of it carries the mark of this run, so that the next one finds what a crash leaves. */
export async function makeEgressPlace({ name, known, real, inFrames }: EgressPlaceOptions): Promise<EgressPlace> {
  const mark = runMark(`egress-${name}`);
  const root = new NetworkRoot({ mark, own: ownNamespaceOf(mark) });
  const probes = linuxProbes(root, name, ENTRIES.stream);
  const close = async (): Promise<void> => {
    probes.close();
    await removeNetwork(mark);
  };
  try {
    makeOwnNamespace(mark);
    const endpoints = Array.from({ length: known }, (_, index) => endpointOf(NETWORK, index));
    const host = linuxPathHost(root);
    const { firewall, shaper } = host;
    const wire = ownWire();
    await layPicture(host, { ...wire, entries: [...wire.entries, NOBODYS] });
    const { namespaces, links, entries } = networkPicture(SEGMENT, real, OWN_WIRE);
    await layPicture(host, { namespaces, links, entries });
    for (const { container, link } of endpoints.slice(0, inFrames)) await sendInFrames(root, container, link);
    const { elements: add } = networkPicture(SEGMENT, known, OWN_WIRE);
    insist(await firewall.apply([{ frame: FRAME, add, remove: [] }]));
    return {
      root,
      firewall,
      shaper,
      unshaped: { objects: [], foreign: [], fairQueues: await shaper.hasFairQueues() },
      shape: async (objects) => insist(await shaper.add(objects)),
      probes,
      containers: endpoints.map(containerOf),
      wirePackets: () => root.within(SINK, receivedPackets),
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** One more that the filter has not heard of. */
export const containerAfter = ({ containers }: EgressPlace): BenchContainer =>
  containerOf(endpointOf(NETWORK, containers.length));

/** The element that marks a container's packets for its class. */
export const markElement = ({ port, address }: BenchContainer, value: string): FirewallElement => ({
  family: 'bridge',
  set: MARKS,
  key: `${port} . ${address}`,
  value,
});

const containerOf = ({ container, address }: Endpoint): BenchContainer => ({
  name: container,
  port: portName(NETWORK.name, container),
  address,
});

/**
 * A veth takes 64 KiB of TCP for one packet, half a second of what a small limit lets pass: a window of a few seconds would not
 * measure it. Where it is milliseconds they stay whole, as they are before a real card, which cuts them up behind the qdisc;
 * a class counts them with the headers of all their frames (qdisc_pkt_len_init in net/core/dev.c).
 */
async function sendInFrames(root: NetworkRoot, container: string, link: string): Promise<void> {
  await execa('ip', ['-n', basename(root.pathOf(container)), 'link', 'set', 'dev', link, 'gso_max_segs', '1']);
}

/** Of the calling thread's namespace: `  eth0: bytes packets …`. */
function receivedPackets(): number {
  const line = readFileSync('/proc/thread-self/net/dev', 'utf8')
    .split('\n')
    .find((each) => each.trimStart().startsWith('eth0:'))!;
  return Number(line.trim().split(/\s+/)[2]);
}
