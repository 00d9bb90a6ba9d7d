// What a machine's network is like, read with the kernel's own tools: to be the same before and after.
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';

const read = (command: string): string => execFileSync('sh', ['-ec', command], { encoding: 'utf8' });
const lines = (command: string): string[] =>
  read(command)
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '');

interface ShownLink {
  readonly ifname: string;
  readonly address: string;
  readonly mtu: number;
  readonly qdisc: string;
  readonly flags: readonly string[];
  readonly ifalias?: string;
  readonly master?: string;
  readonly parentdev?: string;
  readonly vfinfo_list?: readonly unknown[];
}

/** Links and VFs with their names, MACs and knobs, cards, qdiscs, addresses, routes, neighbours, filters and namespaces: a line each. */
export function networkOfMachine(): string[] {
  const links = JSON.parse(read('ip -d -j link show')) as ShownLink[];
  return [
    ...links.flatMap(({ ifname, address, mtu, qdisc, flags, ifalias, master, parentdev, vfinfo_list }) => [
      // By index it may be another, where its driver came anew.
      `link ${JSON.stringify({ ifname, address, mtu, qdisc, up: flags.includes('UP'), ifalias, master, parentdev })}`,
      ...(vfinfo_list ?? []).map((vf) => `vf of ${ifname}: ${JSON.stringify(vf)}`),
      ...['sriov_numvfs', 'sriov_drivers_autoprobe']
        .map((file) => `/sys/class/net/${ifname}/device/${file}`)
        .filter(existsSync)
        .map((file) => `${file} ${readFileSync(file, 'latin1').trim()}`),
    ]),
    ...lines('tc qdisc show').map((line) => `tc ${line}`),
    ...lines('tc filter show; ip -4 -o address show; ip -4 route show table all; ip -4 rule show'),
    ...lines('ip -4 neigh show nud permanent; ip -4 neigh show proxy'),
    // The kernel joins groups of IPv6 by itself, and sooner or later.
    ...lines('bridge fdb show').filter((line) => !/^(?:33:33|01:00:5e):/.test(line)),
    ...lines('nft list ruleset'),
    ...(existsSync('/run/netns') ? readdirSync('/run/netns').map((name) => `namespace ${name}`) : []),
  ];
}

/** What is there now and was not, and the other way round. */
export function differencesFrom(before: readonly string[]): string[] {
  const now = networkOfMachine();
  return [
    ...now.filter((line) => !before.includes(line)).map((line) => `is there: ${line}`),
    ...before.filter((line) => !now.includes(line)).map((line) => `is gone: ${line}`),
  ];
}

/** How often the link of a card has come and gone. */
export const carrierChanges = (pf: string): number =>
  Number(readFileSync(`/sys/class/net/${pf}/carrier_changes`, 'latin1'));
