// The network of a real host, read with `ip`, `bridge` and `cat` from inside its namespaces.
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { makeFabric, removeNetwork } from '../../backends/linux/fabric.ts';
import { runMark } from '../../backends/linux/owner.ts';
import type { NamespaceName } from '../../src/host/namespaces.ts';
import { entryKey, type RoutingEntry } from '../../src/host/routing.ts';
import type { VfKnobs } from '../../src/host/virtual-functions.ts';
import { ADDRESS_HERE, ADDRESS_THERE, type ReadBack, type ReadLink } from './contract.ts';
import { readShaper } from './linux-shaper-text.ts';

export type ReadNetwork = Pick<ReadBack, 'namespaces' | 'link' | 'vf' | 'routing' | 'shaper'>;

/** Joins two open hosts over a fabric. What is returned takes the fabric away. */
export async function joinHosts(name: string, otherName: string): Promise<() => Promise<void>> {
  const mark = runMark('fabric');
  await makeFabric(mark, [
    { mark: runMark(name), prefix: ADDRESS_HERE, mtu: 1500, link: 'eth0' },
    { mark: runMark(otherName), prefix: ADDRESS_THERE, mtu: 1500, link: 'eth0' },
  ]);
  return () => removeNetwork(mark);
}

/** In a namespace by the name that `ip -n` takes; empty: the machine's own. */
function inside(file: string, ...command: string[]): string {
  const all = file === '' ? command : ['ip', 'netns', 'exec', file, ...command];
  const { stdout, status } = spawnSync(all[0]!, all.slice(1), { encoding: 'utf8' });
  return status === 0 ? stdout.trim() : '';
}

type Row = Readonly<Record<string, string | number | undefined>>;

function rows(file: string, ...command: string[]): readonly Row[] {
  const text = inside(file, ...command);
  // iproute2 prints an empty object for nothing at all.
  return text === '' ? [] : (JSON.parse(text) as Row[]).filter((row) => Object.keys(row).length > 0);
}

const TYPES = ['veth', 'bridge', 'vxlan', 'macvlan'] as const;

interface Shown {
  readonly address: string;
  readonly flags: readonly string[];
  readonly mtu: number;
  readonly qdisc: string;
  readonly ifalias?: string;
  readonly master?: string;
  readonly linkinfo?: {
    readonly info_kind?: string;
    readonly info_slave_data?: { readonly learning?: boolean; readonly hairpin?: boolean };
  };
}

/** How the namespaces of a host are read. @param isMachine its own is the machine's */
export function readNetworkOf(mark: string, isMachine = false): ReadNetwork {
  const own = isMachine ? '' : mark;
  const fileOf = (namespace: NamespaceName): string => (namespace === '' ? own : `${mark}+${namespace}`);
  return {
    namespaces: async () =>
      readdirSync('/run/netns')
        .filter((file) => file.startsWith(`${mark}+`))
        .map((file) => file.slice(mark.length + 1))
        .sort(),
    shaper: async ({ namespace, name }) => readShaper(fileOf(namespace), name),
    link: async ({ namespace, name }) => readLink(fileOf(namespace), name),
    vf: async ({ pf, index }) => readFunction(own, pf, index),
    routing: async (namespace) => {
      const file = fileOf(namespace);
      return [
        ...addresses(file, namespace),
        ...routes(file, namespace),
        ...rules(file, namespace),
        ...neighbours(file, namespace),
        ...fdb(file, namespace),
      ]
        .map(entryKey)
        .sort();
    },
  };
}

function readLink(file: string, name: string): ReadLink | null {
  const [shown] = rows(file, 'ip', '-d', '-j', 'link', 'show', 'dev', name) as unknown as Shown[];
  if (shown === undefined) return null;
  const kind = TYPES.find((type) => type === shown.linkinfo?.info_kind);
  return {
    type: kind ?? (name === 'lo' ? 'loopback' : 'other'),
    up: shown.flags.includes('UP'),
    mtu: shown.mtu,
    mac: shown.address,
    alias: shown.ifalias ?? '',
    master: shown.master ?? null,
    learning: shown.linkinfo?.info_slave_data?.learning ?? true,
    hairpin: shown.linkinfo?.info_slave_data?.hairpin ?? false,
    forwarding: inside(file, 'cat', `/proc/sys/net/ipv4/conf/${name}/forwarding`) === '1',
    ipv6: inside(file, 'cat', `/proc/sys/net/ipv6/conf/${name}/disable_ipv6`) === '0',
    qdisc: shown.qdisc,
  };
}

/** How `ip` shows a VF in the entry of its PF. */
interface ShownFunction {
  readonly vf: number;
  readonly address: string;
  readonly vlan_list?: readonly { readonly vlan?: number; readonly qos?: number; readonly protocol?: string }[];
  readonly rate?: { readonly max_tx: number; readonly min_tx: number };
  readonly spoofchk: boolean;
  readonly link_state: VfKnobs['linkState'];
  readonly trust: boolean;
}

function readFunction(file: string, pf: string, index: number): VfKnobs | null {
  const [shown] = rows(file, 'ip', '-d', '-j', 'link', 'show', 'dev', pf);
  const all = (shown?.['vfinfo_list'] ?? []) as unknown as readonly ShownFunction[];
  const found = all.find(({ vf }) => vf === index);
  if (found === undefined) return null;
  const tag = found.vlan_list?.[0];
  return {
    mac: found.address,
    vlan: tag?.vlan ?? 0,
    qos: tag?.qos ?? 0,
    proto: tag?.protocol === '802.1ad' ? '802.1ad' : '802.1Q',
    spoofCheck: found.spoofchk,
    trust: found.trust,
    linkState: found.link_state,
    minRateBitsPerSec: (found.rate?.min_tx ?? 0) * 1_000_000,
    maxRateBitsPerSec: (found.rate?.max_tx ?? 0) * 1_000_000,
  };
}

function addresses(file: string, namespace: NamespaceName): RoutingEntry[] {
  return rows(file, 'ip', '-4', '-j', 'address', 'show').flatMap((row) =>
    (row['addr_info'] as unknown as { local: string; prefixlen: number }[])
      .filter(({ local }) => local !== '127.0.0.1')
      .map(({ local, prefixlen }) => ({
        kind: 'address' as const,
        namespace,
        link: String(row['ifname']),
        prefix: `${local}/${prefixlen}`,
      })),
  );
}

function routes(file: string, namespace: NamespaceName): RoutingEntry[] {
  return rows(file, 'ip', '-4', '-N', '-j', 'route', 'show', 'table', 'all')
    .filter((row) => row['protocol'] !== '2')
    .map((row) => {
      const to = row['dst'] === 'default' ? '0.0.0.0/0' : String(row['dst']);
      return {
        kind: 'route' as const,
        namespace,
        link: String(row['dev']),
        to: to.includes('/') ? to : `${to}/32`,
        ...(row['gateway'] === undefined ? {} : { via: String(row['gateway']) }),
        ...(row['table'] === undefined ? {} : { table: Number(row['table']) }),
        ...(row['prefsrc'] === undefined ? {} : { source: String(row['prefsrc']) }),
      };
    });
}

function rules(file: string, namespace: NamespaceName): RoutingEntry[] {
  return rows(file, 'ip', '-4', '-N', '-j', 'rule', 'show')
    .filter((row) => row['src'] !== 'all')
    .map((row) => ({ kind: 'rule' as const, namespace, from: String(row['src']), table: Number(row['table']) }));
}

function neighbours(file: string, namespace: NamespaceName): RoutingEntry[] {
  const show = (...what: string[]): readonly Row[] => rows(file, 'ip', '-4', '-j', 'neigh', 'show', ...what);
  const at = (row: Row): { namespace: string; link: string; address: string } => ({
    namespace,
    link: String(row['dev']),
    address: String(row['dst']),
  });
  return [
    ...show('nud', 'permanent').map((row) => ({ kind: 'neighbour' as const, ...at(row), mac: String(row['lladdr']) })),
    ...show('proxy').map((row) => ({ kind: 'proxy' as const, ...at(row) })),
  ];
}

function fdb(file: string, namespace: NamespaceName): RoutingEntry[] {
  // A bridge that knows VLANs tells an entry once more for each (CONFIG_BRIDGE_VLAN_FILTERING).
  const untagged = rows(file, 'bridge', '-j', 'fdb', 'show').filter((row) => row['vlan'] === undefined);
  return untagged.flatMap((row) => {
    const entry = { kind: 'fdb' as const, namespace, link: String(row['ifname']), mac: String(row['mac']) };
    if (row['dst'] !== undefined) return [{ ...entry, destination: String(row['dst']) }];
    return row['state'] === 'static' && row['master'] !== undefined ? [entry] : [];
  });
}
