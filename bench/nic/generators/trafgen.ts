import { spawnSync } from 'node:child_process';
import { parseAddress } from '../../../src/host/ipv4.ts';
import { type FirstHop, firstHop, macOfLink, macOfNext } from '../first-hop.ts';
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

/** What is not reached by any socket of the container's. */
const SOURCE_PORT = 40_000;

/** The peer of Debian's netsniff-ng, by packet sockets: past the container's own IP, and the queues of its link. */
export function trafgen(): Generator {
  return {
    name: 'trafgen',
    payloadBytesMin: 1,
    whyNot: async () =>
      spawnSync('trafgen', ['--version']).error === undefined
        ? null
        : 'there is no command "trafgen" here (Debian: netsniff-ng)',
    start: startTrafgen,
    close: async () => {},
  };
}

async function startTrafgen(place: FloodPlace, flood: Flood): Promise<Generating> {
  const { containers, payloadBytes, packetsPerSec } = flood;
  await warmUp(place, containers);
  const cpus = cpusHere();
  const packets = await Promise.all(containers.map((container) => packetOf(place, container, payloadBytes)));
  const commands = containers.map(({ namespace }, index) => {
    const { link, text } = packets[index]!;
    return new GuardedCommand(place.root, namespace, {
      work: 'trafgen "$@"',
      undo: 'kill -INT 0',
      // It must not tune the machine.
      args: ['-o', link, '--no-sock-mem', '--notouch-irq', ...spread(text, cpus[index % cpus.length]!, packetsPerSec)],
      does: `sends from ${namespace} (trafgen)`,
    });
  });
  const end = async (): Promise<Sent> =>
    together((await Promise.all(commands.map((each) => each.end()))).map((said) => sentOf(said)));
  return {
    cpuUs: () => commands.reduce((sum, each) => sum + each.spentUs(), 0),
    sent: async () => {
      throw new Error('trafgen tells what it has sent at its end alone');
    },
    stop: async () => {
      for (const each of commands) each.spentUs();
      try {
        for (const each of commands) each.insistAlive();
      } catch (error) {
        await Promise.all(commands.map((each) => each.end()));
        throw error;
      }
      return await end();
    },
  };
}

/**
 * It has a process for each CPU up to the last named, of which those without packets end. At a pace it has but one, of the
 * first CPU, and sends at once what is for a second: no pace to measure a loss at.
 */
const spread = (text: string, cpu: number, packetsPerSec: number | undefined): string[] =>
  packetsPerSec === undefined
    ? ['-P', String(cpu + 1), `cpu(${cpu}): ${text}`]
    : ['-P', '1', '-b', `${Math.round(packetsPerSec)}pps`, text];

/** `     656384 packets outgoing`, at its end. */
function sentOf(said: string): Sent {
  const packets = /(\d+) packets outgoing/.exec(said)?.[1];
  if (packets === undefined) throw new Error(`trafgen does not say what it has sent: ${said.trim()}`);
  return { packets: Number(packets), refused: 0 };
}

/** A whole frame, in trafgen's words. */
async function packetOf(
  place: FloodPlace,
  container: PathContainer,
  payloadBytes: number,
): Promise<{ readonly link: string; readonly text: string }> {
  const hop = await firstHop(place, container);
  const destination = await macOfNext(place, container, hop);
  const own = await macOfLink(place, container, hop);
  const headers = headersOf({ hop, target: container.target, destination, own, payloadBytes });
  const bytes = [...headers].map((byte) => `0x${byte.toString(16).padStart(2, '0')}`);
  return { link: hop.link, text: `{ ${bytes.join(', ')}, fill(0x00, ${payloadBytes}) }` };
}

interface Ends {
  readonly hop: FirstHop;
  readonly target: string;
  readonly destination: string;
  readonly own: string;
  readonly payloadBytes: number;
}

/** Ethernet, IPv4 and UDP, which goes without a checksum (RFC 768). */
function headersOf({ hop, target, destination, own, payloadBytes }: Ends): Buffer {
  const bytes = Buffer.alloc(14 + 20 + 8);
  Buffer.from(destination.replaceAll(':', ''), 'hex').copy(bytes, 0);
  Buffer.from(own.replaceAll(':', ''), 'hex').copy(bytes, 6);
  bytes.writeUInt16BE(0x0800, 12);
  const ip = bytes.subarray(14, 34);
  ip.writeUInt8(0x45, 0);
  ip.writeUInt16BE(28 + payloadBytes, 2);
  // Not to be fragmented; 64 hops at most; UDP.
  ip.writeUInt16BE(0x4000, 6);
  ip.writeUInt8(64, 8);
  ip.writeUInt8(17, 9);
  ip.writeUInt32BE(parseAddress(hop.source), 12);
  ip.writeUInt32BE(parseAddress(target), 16);
  ip.writeUInt16BE(checksumOf(ip), 10);
  const udp = bytes.subarray(34);
  udp.writeUInt16BE(SOURCE_PORT, 0);
  udp.writeUInt16BE(FLOOD_PORT, 2);
  udp.writeUInt16BE(8 + payloadBytes, 4);
  return bytes;
}

/** RFC 791: the complement of the sum of its words in ones' complement. */
function checksumOf(header: Buffer): number {
  let sum = 0;
  for (let at = 0; at < header.length; at += 2) sum += header.readUInt16BE(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}
