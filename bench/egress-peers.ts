import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import { runTool } from '../backends/linux/tool.ts';
import { linuxLinks } from '../backends/linux/links.ts';
import { linuxNamespaces } from '../backends/linux/namespaces.ts';
import { SHAPER_MAJOR, type ShaperClass } from '../src/host/shaper.ts';
import { CNI_FOLDER, runPlugin } from './cni.ts';
import { type BenchContainer, type EgressPlace, UPLINK } from './egress-place.ts';
import { insist } from './nic/picture.ts';

export const RULES_NAME = 'one iptables rule per IP';
export const CNI_NAME = 'CNI bandwidth plugin';

/** Is the plugin here? */
export const hasBandwidthPlugin = (): boolean => existsSync(join(CNI_FOLDER, 'bandwidth'));

/** A rule that marks what one address sends, as the seed of this project had them. */
const ruleOf = ({ address }: BenchContainer, mark: string): string[] =>
  `-t mangle -A FORWARD -s ${address}/32 -j MARK --set-mark ${mark}`.split(' ');

/** Lays a rule for each, at once. */
export async function layRules({ root }: EgressPlace, marks: ReadonlyMap<BenchContainer, string>): Promise<void> {
  const rules = [...marks].map(([container, mark]) => ruleOf(container, mark).slice(2).join(' '));
  await tool(root, 'iptables-restore', ['--noflush'], `*mangle\n${rules.join('\n')}\nCOMMIT\n`);
}

/** Takes all rules away. */
export const flushRules = ({ root }: EgressPlace): Promise<void> =>
  tool(root, 'iptables', ['-t', 'mangle', '-F', 'FORWARD']);

/** One more rule and its class, as somebody at a shell would. */
export async function addRule(
  { root }: EgressPlace,
  container: BenchContainer,
  mark: string,
  cls: ShaperClass,
): Promise<void> {
  await tool(root, 'iptables', ruleOf(container, mark));
  await tool(root, 'tc', classWords(cls));
}

/** Takes it away again. */
export async function removeRule(
  { root }: EgressPlace,
  container: BenchContainer,
  mark: string,
  cls: ShaperClass,
): Promise<void> {
  await tool(
    root,
    'iptables',
    ruleOf(container, mark).map((word) => (word === '-A' ? '-D' : word)),
  );
  await tool(root, 'tc', ['class', 'delete', 'dev', cls.name, 'classid', classId(cls.minor)]);
}

/** Lays all classes at once. */
export const layClasses = ({ root }: EgressPlace, classes: readonly ShaperClass[]): Promise<void> =>
  tool(root, 'tc', ['-batch', '-'], classes.map((cls) => `${classWords(cls).join(' ')}\n`).join(''));

const classId = (minor: number): string => `${SHAPER_MAJOR.toString(16)}:${minor === 0 ? '' : minor.toString(16)}`;

const classWords = ({ name, minor, parentMinor, ...numbers }: ShaperClass): string[] => {
  const { rateBitsPerSec, ceilBitsPerSec, burstBytes, ceilBurstBytes, quantumBytes } = numbers;
  return [
    `class add dev ${name} parent ${classId(parentMinor)} classid ${classId(minor)} htb`,
    `rate ${rateBitsPerSec}bit ceil ${ceilBitsPerSec}bit`,
    `burst ${burstBytes} cburst ${ceilBurstBytes} quantum ${quantumBytes}`,
  ].flatMap((words) => words.split(' '));
};

async function tool(root: EgressPlace['root'], file: string, args: readonly string[], input = ''): Promise<void> {
  const { ok, stderr } = await runTool(root, file, args, input);
  if (!ok) throw new Error(`${file} ${args.join(' ').slice(0, 200)}: ${stderr.trim()}`);
}

export interface Bandwidth {
  readonly rateBitsPerSec: number;
  /** Of bits, as the plugin takes it. */
  readonly burstBits: number;
}

/** Shapes a container that is there, by the plugin itself. */
export async function addBandwidth(place: EgressPlace, container: BenchContainer, bandwidth: Bandwidth): Promise<void> {
  await bandwidthPlugin('ADD', place, container, bandwidth);
}

export async function removeBandwidth(
  place: EgressPlace,
  container: BenchContainer,
  bandwidth: Bandwidth,
): Promise<void> {
  await bandwidthPlugin('DEL', place, container, bandwidth);
}

async function bandwidthPlugin(
  command: 'ADD' | 'DEL',
  { root }: EgressPlace,
  { name, port, address }: BenchContainer,
  { rateBitsPerSec, burstBits }: Bandwidth,
): Promise<void> {
  const sandbox = root.pathOf(name);
  const prevResult = {
    cniVersion: '1.0.0',
    interfaces: [{ name: port }, { name: 'eth0', sandbox }],
    ips: [{ interface: 1, address: `${address}/18` }],
  };
  await runPlugin(
    root.pathOf(''),
    command,
    { id: name, namespace: sandbox },
    {
      cniVersion: '1.0.0',
      name: 'bench',
      type: 'bandwidth',
      egressRate: rateBitsPerSec,
      egressBurst: burstBits,
      prevResult,
    },
  );
}

/**
 * What the plugin leaves behind for containers that are known and not there: a veth each, its ingress redirected to an ifb of
 * its own with a tbf. Laid in one batch: a thousand plugins take half a minute, and only what they leave is in a packet's way.
 */
export async function layBandwidthCrowd({ root }: EgressPlace, crowd: readonly BenchContainer[]): Promise<void> {
  insist(await linuxNamespaces(root).create(['crowd']));
  const ports = crowd.map(({ port }, index) => ({ port, ifb: `ifb${index}`, inside: `e${index}` }));
  insist(
    await linuxLinks(root).create(
      ports.map(({ port, inside }) => ({
        namespace: '',
        name: port,
        alias: '',
        kind: { type: 'veth', peer: { namespace: 'crowd', name: inside, alias: '' } },
      })),
    ),
  );
  const ipLines = ports.map(({ ifb }) => `link add name ${ifb} up type ifb\n`);
  await tool(root, 'ip', ['-batch', '-'], ipLines.join(''));
  const tcLines = ports.flatMap(({ port, ifb }) => [
    `qdisc add dev ${port} ingress\n`,
    `qdisc add dev ${ifb} root handle 1: tbf rate 1gbit burst 100k latency 25ms\n`,
    `filter add dev ${port} parent ffff: protocol all u32 match u32 0 0 action mirred egress redirect dev ${ifb}\n`,
  ]);
  await tool(root, 'tc', ['-batch', '-'], tcLines.join(''));
}

/** What the peers are, for whoever reads the figures later. */
export async function describePeers(): Promise<object> {
  const said = async (command: string, ...args: string[]): Promise<string> => {
    const { stdout, failed } = await execa(command, args, { reject: false });
    return failed ? 'unknown' : stdout;
  };
  const [iptables, tc, plugins] = await Promise.all([
    said('iptables', '--version'),
    said('tc', '-V'),
    said('dpkg-query', '-W', '-f=${Version}', 'containernetworking-plugins'),
  ]);
  return {
    [RULES_NAME]: {
      command: `iptables -t mangle -A FORWARD -s ADDRESS -j MARK --set-mark MARK, tc class add dev ${UPLINK} (all: iptables-restore --noflush, tc -batch)`,
      version: `${iptables}, ${tc}`,
    },
    [CNI_NAME]: {
      command: `${CNI_FOLDER}/bandwidth ADD; for those that are known and not there ip -batch and tc -batch of what it leaves`,
      version: `containernetworking-plugins ${plugins}`,
    },
  };
}
