import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { errnoOf, isAbsent } from '../../../backends/linux/errors.ts';
import { firstHop, macOfNext } from '../first-hop.ts';
import {
  cpusHere,
  type Flood,
  type FloodPlace,
  type Generating,
  type Generator,
  together,
  warmUp,
} from '../generator.ts';
import { GuardedCommand } from '../guarded.ts';
import type { Sent } from '../packet-order.ts';
import type { PathContainer } from '../picture.ts';
import { FLOOD_PORT } from '../sink.ts';

/** Of the network namespace that the calling thread is in (Documentation/networking/pktgen.rst). */
const FOLDER = '/proc/thread-self/net/pktgen';
const HEADERS_BYTES = 14 + 20 + 8;
/** struct pktgen_hdr, which it puts in each packet (net/core/pktgen.c). */
const PAYLOAD_BYTES_MIN = 16;
const SOURCE_PORT = 40_000;

/** The kernel's own generator: a thread of the kernel for each CPU and network namespace, which hands frames to the link's driver. */
export function pktgen(): Generator {
  return {
    name: 'pktgen',
    payloadBytesMin: PAYLOAD_BYTES_MIN,
    whyNot: async ({ root, containers }) => {
      const lacks = root.within(containers[0]!.namespace, () => !hasFolder());
      return lacks ? 'this kernel has no pktgen, or it is not loaded: "modprobe pktgen" (CONFIG_NET_PKTGEN)' : null;
    },
    start: startPktgen,
    close: async () => {},
  };
}

function hasFolder(): boolean {
  try {
    return readdirSync(FOLDER).includes('pgctrl');
  } catch (error) {
    if (isAbsent(error)) return false;
    throw error;
  }
}

async function startPktgen(place: FloodPlace, flood: Flood): Promise<Generating> {
  const { containers, payloadBytes } = flood;
  if (payloadBytes < PAYLOAD_BYTES_MIN)
    throw new Error(
      `pktgen puts ${PAYLOAD_BYTES_MIN} bytes of its own in each packet: ${payloadBytes} are too few for it`,
    );
  await warmUp(place, containers);
  const cpus = cpusHere();
  const devices = await Promise.all(
    containers.map((container, index) => setUp(place, container, flood, cpus[index % cpus.length]!)),
  );
  // To start it is to wait until it is stopped; the kernel stops it too when whoever waits is interrupted.
  const commands = containers.map(
    ({ namespace }) =>
      new GuardedCommand(place.root, namespace, {
        work: `echo start > ${FOLDER}/pgctrl`,
        undo: `echo stop > ${FOLDER}/pgctrl`,
        args: [],
        does: `sends from ${namespace} (pktgen)`,
      }),
  );
  const sent = (): Sent => together(devices.map((device) => sentOf(device)));
  return {
    cpuUs: threadsUs,
    sent: async () => {
      for (const each of commands) each.insistAlive();
      return sent();
    },
    stop: async () => {
      try {
        for (const each of commands) each.insistAlive();
      } finally {
        await Promise.all(commands.map((each) => each.end()));
      }
      return sent();
    },
  };
}

/** A link of a container as pktgen knows it. */
interface Device {
  readonly place: FloodPlace;
  readonly namespace: string;
  readonly name: string;
}

async function setUp(
  place: FloodPlace,
  container: PathContainer,
  { payloadBytes, packetsPerSec }: Flood,
  cpu: number,
): Promise<Device> {
  const { namespace, target } = container;
  const hop = await firstHop(place, container);
  const mac = await macOfNext(place, container, hop);
  const tell = (file: string, word: string): void => {
    try {
      // It reads on to the end of a line, whatever is in memory there.
      writeFileSync(`${FOLDER}/${file}`, `${word}\n`, { flag: 'r+' });
    } catch (error) {
      throw new Error(`pktgen of ${namespace} refuses "${word}" of ${file}: ${errnoOf(error) ?? String(error)}`, {
        cause: error,
      });
    }
  };
  place.root.within(namespace, () => {
    for (const thread of readdirSync(FOLDER).filter((name) => name.startsWith('kpktgend_')))
      tell(thread, 'rem_device_all');
    tell(`kpktgend_${cpu}`, `add_device ${hop.link}`);
    const words = [
      'count 0',
      // A veth takes no packet twice (IFF_TX_SKB_SHARING).
      'clone_skb 0',
      `pkt_size ${HEADERS_BYTES + payloadBytes}`,
      `src_min ${hop.source}`,
      `src_max ${hop.source}`,
      `dst ${target}`,
      `dst_mac ${mac}`,
      `udp_src_min ${SOURCE_PORT}`,
      `udp_src_max ${SOURCE_PORT}`,
      `udp_dst_min ${FLOOD_PORT}`,
      `udp_dst_max ${FLOOD_PORT}`,
      packetsPerSec === undefined ? 'delay 0' : `ratep ${Math.round(packetsPerSec)}`,
    ];
    for (const word of words) tell(hop.link, word);
  });
  return { place, namespace, name: hop.link };
}

/** `     pkts-sofar: 1000  errors: 0`, kept when it has stopped until it starts again. */
function sentOf({ place, namespace, name }: Device): Sent {
  const text = place.root.within(namespace, () => readFileSync(`${FOLDER}/${name}`, 'latin1'));
  const [, packets, refused] = /pkts-sofar: (\d+)\s+errors: (\d+)/.exec(text) ?? [];
  if (packets === undefined) throw new Error(`pktgen of ${namespace} does not say what it has sent: ${text.trim()}`);
  return { packets: Number(packets), refused: Number(refused) };
}

/** Of all its threads on this machine: those of one network namespace are called as those of the next. */
const threadsUs = (): number =>
  readdirSync('/proc').reduce((sum, pid) => sum + (/^\d+$/.test(pid) ? threadUs(pid) : 0), 0);

function threadUs(pid: string): number {
  try {
    if (!readFileSync(`/proc/${pid}/comm`, 'latin1').startsWith('kpktgend_')) return 0;
    return Number(readFileSync(`/proc/${pid}/schedstat`, 'latin1').split(' ')[0]) / 1000;
  } catch {
    // It ended while we were looking.
    return 0;
  }
}
