import { readlinkSync } from 'node:fs';
import { basename, join } from 'node:path';
import { execa } from 'execa';
import { linkSpeedBitsPerSec } from '../../backends/linux/link-speed.ts';
import type { NetworkRoot } from '../../backends/linux/netns.ts';
import type { LinkName } from '../../src/host/links.ts';
import { readWords } from './kernel-words.ts';

/** What drives a link, and what it does with packets on its own. Null: it does not tell. */
export interface LinkFacts {
  readonly link: LinkName;
  readonly driver: string | null;
  readonly firmware: string | null;
  /** As the bus writes it: `0000:01:00.0`. */
  readonly pciAddress: string | null;
  readonly speedBitsPerSec: number | null;
  /** Those that are on, by ethtool's names. */
  readonly offloads: readonly string[] | null;
}

/** What a card is, beside what its link tells. */
export interface CardFacts {
  /** Vendor and device: `8086:10c9`. */
  readonly id: string | null;
  readonly driver: string | null;
  readonly totalVfs: number | null;
  readonly numaNode: number | null;
}

const PCI_ADDRESS = /^[0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$/;
/** Of what ethtool lists these change how many packets there are, or what one costs. */
const TELLING = /segmentation|receive-offload|checksum|scatter-gather|gro|udp/;

/** Inside the link's own namespace; what ethtool(8) tells is null where there is no such command. */
export async function readLinkFacts(root: NetworkRoot, link: LinkName): Promise<LinkFacts> {
  const ask = async (...args: readonly string[]): Promise<string> => {
    try {
      // A child is of the namespace that it is started in.
      const asked = root.within(link.namespace, () =>
        execa('ethtool', args, { reject: false, env: { LC_ALL: 'C' }, timeout: 10_000 }),
      );
      const { stdout, failed } = await asked;
      return failed ? '' : stdout;
    } catch {
      // The namespace is gone: what is recorded is not what is measured, and ends nothing.
      return '';
    }
  };
  const [info, features] = await Promise.all([ask('-i', link.name), ask('--json', '-k', link.name)]);
  return { link, ...factsIn(info), speedBitsPerSec: speedOf(root, link), offloads: offloadsIn(features) };
}

/** What `ethtool -i` says. */
export function factsIn(info: string): Pick<LinkFacts, 'driver' | 'firmware' | 'pciAddress'> {
  const at = (key: string): string | null => {
    const value = info.match(new RegExp(`^${key}: *(?<value>.*)$`, 'm'))?.groups!['value']!.trim() ?? '';
    return value === '' || value === 'N/A' ? null : value;
  };
  const bus = at('bus-info');
  return {
    driver: at('driver'),
    firmware: at('firmware-version'),
    pciAddress: bus !== null && PCI_ADDRESS.test(bus) ? bus : null,
  };
}

function speedOf(root: NetworkRoot, { namespace, name }: LinkName): number | null {
  try {
    return root.within(namespace, () => linkSpeedBitsPerSec(name));
  } catch {
    // As above.
    return null;
  }
}

/** What `ethtool --json -k` says. An older one writes text, and is not understood. */
export function offloadsIn(features: string): string[] | null {
  try {
    const [link] = JSON.parse(features) as readonly Record<string, unknown>[];
    return Object.entries(link ?? {})
      .filter(([name, state]) => TELLING.test(name) && (state as { active?: unknown } | null)?.active === true)
      .map(([name]) => name);
  } catch {
    return null;
  }
}

/** What the bus tells of a card, whatever namespace its link is in. */
export function readCardFacts(pciAddress: string, root = '/'): CardFacts {
  const folder = join(root, 'sys/bus/pci/devices', pciAddress);
  const numberAt = (file: string): number | null => {
    const words = readWords(join(folder, file));
    return words === null || words === '' ? null : Number(words);
  };
  const hex = (file: string): string | null => readWords(join(folder, file))?.replace(/^0x/, '') ?? null;
  const [vendor, device, numaNode] = [hex('vendor'), hex('device'), numberAt('numa_node')];
  return {
    id: vendor === null || device === null ? null : `${vendor}:${device}`,
    driver: linkTarget(join(folder, 'driver')),
    totalVfs: numberAt('sriov_totalvfs'),
    // -1: the machine has but one.
    numaNode: numaNode === -1 ? null : numaNode,
  };
}

function linkTarget(path: string): string | null {
  try {
    return basename(readlinkSync(path));
  } catch {
    return null;
  }
}
