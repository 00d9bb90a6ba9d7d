import * as z from 'zod';
import { HEADER_BYTES } from '../../backends/sim/packet.ts';
import { hostError } from '../../backends/linux/errors.ts';
import { NetworkRoot } from '../../backends/linux/netns.ts';
import { mayLive, ownerOf, runMark } from '../../backends/linux/owner.ts';
import { runTool } from '../../backends/linux/tool.ts';
import { HostError } from '../../src/host/errors.ts';
import type { NamespaceName } from '../../src/host/namespaces.ts';
import { TUNNEL_PORT } from '../../src/network/frame.ts';
import { NftCounters } from './counters.ts';

/** The discard service (RFC 863), and the echo service (RFC 862). */
export const FLOOD_PORT = 9;
export const ECHO_PORT = 7;

/** Around a packet in a tunnel: IPv4, UDP, VXLAN, Ethernet. */
const TUNNEL_BYTES = 20 + 8 + 8 + 14;

/** The far end of the wire: counts each datagram of the flood before anything could drop it, and throws it away. */
export interface Sink {
  /** What has come since it is there: exact. */
  counts(): Promise<SinkCounts> | SinkCounts;
  close(): Promise<void>;
}

export interface SinkCounts {
  /** Of the flood, counted by a rule. */
  readonly packets: number;
  /** As IP has them: a packet in a tunnel with all that is around it. */
  readonly bytes: number;
  /** How many of the packets came in a tunnel. */
  readonly tunnelPackets: number;
}

/** Read while packets come, some may be counted whose bytes are not yet; a segmented one is twice too large at least (nft_counter_fetch in net/netfilter/nft_counter.c). */
const TORN = 0.01;
const TORN_PACKETS = 16;

/** Two packets are told apart from one of twice the size. @throws Error where something on the way makes one of several */
export function insistOnFrames(before: SinkCounts, after: SinkCounts, payloadBytes: number, path: string): void {
  const packets = after.packets - before.packets;
  const bytes = after.bytes - before.bytes;
  const wanted = packets * (payloadBytes + HEADER_BYTES) + (after.tunnelPackets - before.tunnelPackets) * TUNNEL_BYTES;
  if (Math.abs(bytes - wanted) <= Math.max(wanted * TORN, (TORN_PACKETS * wanted) / Math.max(1, packets))) return;
  const each = (number: number): string => (number / packets).toFixed(1);
  const seen = `${path}: ${packets} packets of ${each(bytes)} bytes came to the sink instead of ${each(wanted)}`;
  throw new Error(
    bytes < wanted
      ? `${seen}: somebody else sends to port ${FLOOD_PORT} there`
      : `${seen}: several datagrams count as one. Switch off what joins them: where they are sent "ethtool -K LINK tx-udp-segmentation off", at the sink "ethtool -K LINK rx-udp-gro-forwarding off rx-gro-list off"`,
  );
}

/** A sink in this namespace of the host. @throws HostError where nft is not there, or refuses */
export async function openSink(root: NetworkRoot, namespace: NamespaceName): Promise<Sink> {
  const own = namespace === '' ? root : new NetworkRoot({ mark: root.mark, own: root.pathOf(namespace) });
  // It names its owner: where that dies, whoever comes next finds it.
  const table = runMark('nic-sink');
  await lay(own, rulesOf(table));
  try {
    return new NamespaceSink(own, table, new NftCounters(own, table));
  } catch (error) {
    await lay(own, `delete table ip ${table}\n`);
    throw error;
  }
}

const Listed = z.object({
  nftables: z.array(z.object({ table: z.object({ name: z.string() }).optional() })),
});

/** Removes from the host's own namespace the rules of sinks that were killed. @throws HostError */
export async function sweepDeadSinks(root: NetworkRoot): Promise<void> {
  for (const { table } of Listed.parse(JSON.parse(await nft(root, ['-j', 'list', 'tables', 'ip']))).nftables) {
    const owner = table === undefined ? null : ownerOf(table.name);
    if (owner === null || mayLive(owner)) continue;
    // Another may be sweeping at the same time, and what is gone already cannot be deleted: so it is added first.
    await lay(root, `add table ip ${table!.name}\ndelete table ip ${table!.name}\n`);
  }
}

/** Before connection tracking (-200) and any filter. Of a tunnel the packet inside is looked at where it lies: UDP, to the port. */
const rulesOf = (table: string): string => `table ip ${table} {
  counter flood {}
  counter tunnelled {}
  chain prerouting {
    type filter hook prerouting priority -300; policy accept;
    udp dport ${FLOOD_PORT} counter name flood drop
    udp dport ${TUNNEL_PORT} @th,312,8 17 @th,416,16 ${FLOOD_PORT} counter name tunnelled drop
  }
}
`;

const lay = async (root: NetworkRoot, script: string): Promise<void> => void (await nft(root, ['-f', '-'], script));

async function nft(root: NetworkRoot, args: readonly string[], script = ''): Promise<string> {
  const { ok, stdout, stderr } = await runTool(root, 'nft', args, script).catch((error: unknown) => {
    throw hostError('bench nic', 'sink', error);
  });
  if (ok) return stdout;
  throw new HostError('EIO', 'bench nic', 'sink', { detail: `nft ${args.join(' ')}: ${stderr.trim()}` });
}

class NamespaceSink implements Sink {
  readonly #root: NetworkRoot;
  readonly #table: string;
  readonly #counters: NftCounters;

  constructor(root: NetworkRoot, table: string, counters: NftCounters) {
    this.#root = root;
    this.#table = table;
    this.#counters = counters;
  }

  counts(): SinkCounts {
    const flood = this.#counters.read('flood');
    const tunnelled = this.#counters.read('tunnelled');
    return {
      packets: flood.packets + tunnelled.packets,
      bytes: flood.bytes + tunnelled.bytes,
      tunnelPackets: tunnelled.packets,
    };
  }

  async close(): Promise<void> {
    this.#counters.close();
    await lay(this.#root, `delete table ip ${this.#table}\n`);
  }
}
