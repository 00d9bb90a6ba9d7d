import { join } from 'node:path';
import { execa } from 'execa';
import si from 'systeminformation';
import type { NetworkRoot } from '../../backends/linux/netns.ts';
import type { LinkName } from '../../src/host/links.ts';
import { namesIn, readWords } from './kernel-words.ts';
import { type CardFacts, type LinkFacts, readCardFacts, readLinkFacts } from './link-facts.ts';

/** All that a packet rate depends on and a reader cannot guess. Null: the machine does not tell. */
export interface NicEnvironment extends Processor {
  /** In one line, for a figure. */
  readonly machine: string;
  readonly kernel: string;
  readonly distribution: string;
  readonly hypervisor: string | null;
  /** Runnable processes over 1, 5 and 15 minutes, before anything was measured. */
  readonly load: readonly number[] | null;
  /** A container's own link, on the first of the paths; and the card where one is measured. */
  readonly link: LinkFacts;
  readonly card: (CardFacts & LinkFacts) | null;
  readonly tools: Readonly<Record<string, string | null>>;
}

/** The CPUs, and what makes them faster or slower. */
export interface Processor {
  readonly cpu: string;
  readonly cpus: number;
  readonly governors: readonly string[] | null;
  /** May a CPU run above its rated speed? */
  readonly turbo: boolean | null;
  /** Do two CPUs share a core? */
  readonly threads: boolean | null;
  /** The kernel's word for each hole of the hardware that concerns this one: each costs a packet something. */
  readonly mitigations: Readonly<Record<string, string>> | null;
}

export interface EnvironmentOptions {
  readonly network: NetworkRoot;
  readonly link: LinkName;
  /** The link of the card that is measured. */
  readonly card: LinkName | null;
}

/** Commands whose version is recorded, and how each tells it. */
const TOOLS: Readonly<Record<string, readonly string[]>> = {
  ip: ['-V'],
  tc: ['-V'],
  nft: ['--version'],
  'iptables-legacy': ['--version'],
  ethtool: ['--version'],
  trafgen: ['--version'],
};

/** What the machine is, at this moment. */
export async function readEnvironment({ network, link, card }: EnvironmentOptions): Promise<NicEnvironment> {
  // First of all: what follows adds to it.
  const load = readLoad();
  const [cpu, system, tools, facts, cardLink] = await Promise.all([
    si.cpu(),
    si.osInfo(),
    readTools(),
    readLinkFacts(network, link),
    card === null ? null : readLinkFacts(network, card),
  ]);
  const processor = readProcessor(`${cpu.manufacturer} ${cpu.brand}`.trim(), cpu.cores);
  const hypervisor = readHypervisor();
  return {
    machine: machineLine(processor, system.kernel, hypervisor, cardLink),
    kernel: system.kernel,
    distribution: `${system.distro} ${system.release}`.trim(),
    hypervisor,
    ...processor,
    load,
    link: facts,
    card: cardLink === null ? null : { ...readCardFacts(cardLink.pciAddress ?? ''), ...cardLink },
    tools: { node: process.version, ...tools },
  };
}

/** `2 CPUs (AMD EPYC) of a virtual machine, Linux 6.12, eth1 by igb at 1 Gbit/s`. */
export function machineLine(
  { cpu, cpus }: Pick<Processor, 'cpu' | 'cpus'>,
  kernel: string,
  hypervisor: string | null,
  card: Pick<LinkFacts, 'link' | 'driver' | 'speedBitsPerSec'> | null,
): string {
  const of = hypervisor === null ? '' : ' of a virtual machine';
  const speed = card?.speedBitsPerSec == null ? '' : ` at ${card.speedBitsPerSec / 1e9} Gbit/s`;
  const by = card === null ? '' : `, ${card.link.name} by ${card.driver ?? 'an unknown driver'}${speed}`;
  return `${cpus} ${cpus === 1 ? 'CPU' : 'CPUs'}${cpu === '' ? '' : ` (${cpu})`}${of}, Linux ${kernel}${by}`;
}

export function readProcessor(cpu: string, cpus: number, root = '/'): Processor {
  const folder = join(root, 'sys/devices/system/cpu');
  const governors = namesIn(folder)
    .filter((name) => /^cpu\d+$/.test(name))
    .map((name) => readWords(join(folder, name, 'cpufreq/scaling_governor')))
    .filter((governor) => governor !== null);
  const holes = namesIn(join(folder, 'vulnerabilities')).flatMap((hole): [string, string][] => {
    const words = readWords(join(folder, 'vulnerabilities', hole));
    return words === null || words === 'Not affected' ? [] : [[hole, words]];
  });
  const threads = readWords(join(folder, 'smt/active'));
  return {
    cpu,
    cpus,
    governors: governors.length === 0 ? null : [...new Set(governors)].toSorted(),
    turbo: readTurbo(folder),
    threads: threads === null ? null : threads === '1',
    mitigations: namesIn(join(folder, 'vulnerabilities')).length === 0 ? null : Object.fromEntries(holes),
  };
}

/** intel_pstate says whether there is none, all other drivers whether there is. */
function readTurbo(folder: string): boolean | null {
  const noTurbo = readWords(join(folder, 'intel_pstate/no_turbo'));
  const boost = readWords(join(folder, 'cpufreq/boost'));
  return noTurbo === null ? (boost === null ? null : boost === '1') : noTurbo === '0';
}

/** Its name where the firmware tells, `unnamed` where only the CPU does; null: there is none. */
export function readHypervisor(root = '/'): string | null {
  const isGuest = / hypervisor( |$)/m.test(readWords(join(root, 'proc/cpuinfo')) ?? '');
  const type = readWords(join(root, 'sys/hypervisor/type'));
  if (!isGuest && type === null) return null;
  const said = ['sys_vendor', 'product_name'].map((file) => readWords(join(root, 'sys/class/dmi/id', file)));
  const name = [type, ...said].filter((word) => word !== null && word !== '').join(' ');
  return name === '' ? 'unnamed' : name;
}

/** proc_loadavg(5) */
export function readLoad(root = '/'): number[] | null {
  const words = readWords(join(root, 'proc/loadavg'))?.split(' ').slice(0, 3).map(Number);
  return words?.length === 3 && words.every(Number.isFinite) ? words : null;
}

/** The first line that each says of itself; null where it is not there. */
async function readTools(): Promise<Record<string, string | null>> {
  const said = await Promise.all(
    Object.entries(TOOLS).map(async ([tool, args]): Promise<[string, string | null]> => {
      const { stdout, stderr, failed } = await execa(tool, args, { reject: false, timeout: 10_000 });
      // trafgen says it, and fails.
      return [tool, failed && stdout === '' ? null : `${stdout}\n${stderr}`.trim().split('\n')[0]!];
    }),
  );
  return Object.fromEntries(said);
}
