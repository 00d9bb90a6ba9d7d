import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { execa } from 'execa';
import { makeOwnNamespace, ownNamespaceOf, removeNetwork } from '../backends/linux/fabric.ts';
import { linuxFirewall } from '../backends/linux/firewall.ts';
import { linuxLinks } from '../backends/linux/links.ts';
import { linuxNamespaces } from '../backends/linux/namespaces.ts';
import { NetworkRoot } from '../backends/linux/netns.ts';
import { runMark } from '../backends/linux/owner.ts';
import { linuxProbes } from '../backends/linux/probes.ts';
import { linuxRouting } from '../backends/linux/routing.ts';
import { linuxShaper } from '../backends/linux/shaper.ts';
import { ENTRIES } from '../src/commands/backend/linux.ts';
import { MARKS, type ShapingState } from '../src/egress/picture.ts';
import type { Applied } from '../src/host/batch.ts';
import type { Firewall, FirewallElement } from '../src/host/firewall.ts';
import { formatAddress, parsePrefix } from '../src/host/ipv4.ts';
import type { Shaper, ShaperObject } from '../src/host/shaper.ts';
import type { Probes } from '../src/host/probes.ts';
import type { NetworkSpec } from '../src/network/desired.ts';
import { FRAME } from '../src/network/frame.ts';
import { macOf, portName } from '../src/network/names.ts';
import type { Endpoint, Uplink } from '../src/network/picture.ts';
import { endpointPart, networkPart } from '../src/network/segment.ts';

export const UPLINK = 'up0';
export const SINK = 'sink';
/** Of RFC 2544, for benchmarks. */
export const SINK_ADDRESS = '198.18.0.2';
/** Frames to it reach the sink, and nobody takes them: the cheapest end there is (PACKET_OTHERHOST, net/ipv4/ip_input.c). */
export const NOBODY = '198.18.0.9';
const NOBODYS_MAC = '02:00:00:00:00:09';
const OWN = { link: UPLINK, address: '198.18.0.1', bits: 24, mtu: 1500 } satisfies Uplink;
/** Room for 16,000 addresses: more containers than one bridge can have ports, all but a few of which are on paper. */
const NETWORK: NetworkSpec = { name: 'bench', kind: 'bridge', pool: '10.88.0.0/18', internal: false, nat: true };

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
    const endpoints = Array.from({ length: known }, (_, index) => endpointOf(index));
    const firewall = linuxFirewall(root);
    const shaper = linuxShaper(root);
    await layUplink(root);
    await layContainers(root, endpoints.slice(0, real));
    for (const { container, link } of endpoints.slice(0, inFrames)) await sendInFrames(root, container, link);
    const parts = [
      networkPart({ spec: NETWORK, peers: [] }, OWN),
      ...endpoints.map((endpoint) => endpointPart(endpoint, NETWORK, OWN)),
    ];
    const add = parts.flatMap(({ elements = [] }) => elements);
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
  containerOf(endpointOf(containers.length));

/** The element that marks a container's packets for its class. */
export const markElement = ({ port, address }: BenchContainer, value: string): FirewallElement => ({
  family: 'bridge',
  set: MARKS,
  key: `${port} . ${address}`,
  value,
});

/** @throws HostError unless all was applied */
export function insist({ error }: Applied): void {
  if (error !== undefined) throw error;
}

function endpointOf(index: number): Endpoint {
  const container = `c${index}`;
  return {
    container,
    namespace: container,
    network: NETWORK.name,
    link: 'eth0',
    // The network's own address, and the gateway's, come first.
    address: formatAddress(parsePrefix(NETWORK.pool).first + 2 + index),
    mac: macOf(container),
    publish: [],
    secondary: false,
  };
}

const containerOf = ({ container, address }: Endpoint): BenchContainer => ({
  name: container,
  port: portName(NETWORK.name, container),
  address,
});

async function layUplink(root: NetworkRoot): Promise<void> {
  insist(await linuxNamespaces(root).create([SINK]));
  const links = linuxLinks(root);
  const peer = { namespace: SINK, name: 'eth0', alias: '' };
  insist(await links.create([{ namespace: '', name: UPLINK, alias: '', kind: { type: 'veth', peer } }]));
  insist(
    await links.set([
      { namespace: '', name: UPLINK, set: { up: true, forwarding: true } },
      { namespace: SINK, name: 'eth0', set: { up: true } },
    ]),
  );
  insist(
    await linuxRouting(root).add([
      { kind: 'address', namespace: '', link: UPLINK, prefix: `${OWN.address}/${OWN.bits}` },
      { kind: 'address', namespace: SINK, link: 'eth0', prefix: `${SINK_ADDRESS}/${OWN.bits}` },
      { kind: 'neighbour', namespace: '', link: UPLINK, address: NOBODY, mac: NOBODYS_MAC },
    ]),
  );
}

async function layContainers(root: NetworkRoot, endpoints: readonly Endpoint[]): Promise<void> {
  insist(await linuxNamespaces(root).create(endpoints.map(({ namespace }) => namespace)));
  const parts = [
    networkPart({ spec: NETWORK, peers: [] }, OWN),
    ...endpoints.map((endpoint) => endpointPart(endpoint, NETWORK, OWN)),
  ];
  const picture = parts.flatMap(({ links = [] }) => links);
  const links = linuxLinks(root);
  insist(
    await links.create(
      picture.flatMap(({ namespace, name, kind, settings: { alias = '', mac, mtu } }) =>
        kind === undefined || kind.type === 'vf'
          ? []
          : [{ namespace, name, alias, kind, ...(mac && { mac }), ...(mtu && { mtu }) }],
      ),
    ),
  );
  insist(await links.set(picture.map(({ namespace, name, settings }) => ({ namespace, name, set: settings }))));
  insist(await linuxRouting(root).add(parts.flatMap(({ entries = [] }) => entries)));
}

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
