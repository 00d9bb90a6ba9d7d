// Containers that come and go on a host with a card: by VFs of it, and by an overlay whose uplink is another.
import { openLinuxHost, type LinuxHost } from '../../backends/linux/host.ts';
import type { SqliteStore } from '../../backends/store/sqlite.ts';
import { readAsked } from '../../src/engine/asked.ts';
import type { Desired, DesiredEndpoint } from '../../src/engine/desired.ts';
import { Engine } from '../../src/engine/engine.ts';
import type { ObservationSink } from '../../src/engine/observation.ts';
import type { Random } from '../../src/host/random.ts';
import type { Store } from '../../src/host/store.ts';
import type { NetworkSpec, VfDemand } from '../../src/network/desired.ts';
import { entries } from './linux-host.ts';

/** All that the processes of one body have to know alike. */
export interface FunctionsLife {
  readonly seed: number;
  readonly mark: string;
  readonly storeFile: string;
  readonly pf: string;
  readonly uplink: string;
  /** Who has VFs in the end, four of them; of the others not all find one. */
  readonly last: readonly string[];
  /** Its networks bring the card's VFs; else they are there before. */
  readonly bringsVfs: boolean;
}

export const HOST = 'functions';
export const VFS = 4;
const MBIT = 1_000_000;
const UPLINK_MBIT = 1000;

/** By container the networks that it is in. In both VLANs the same addresses are used, so that a VLAN alone keeps them apart. */
export const NETWORKS_OF: Readonly<Record<string, readonly string[]>> = {
  a: ['fast', 'blue'],
  b: ['fast'],
  c: ['slow'],
  d: ['slow'],
  e: ['office'],
  f: ['blue'],
  g: ['blue'],
};
const ADDRESSES: Readonly<Record<string, string>> = { a: '11', b: '12', c: '13', d: '14', e: '139', f: '16', g: '17' };

export const isByVf = (name: string): boolean => NETWORKS_OF[name]!.some((network) => network !== 'blue');

/** What a container has in a network. */
export const addressIn = (name: string, network: string): string =>
  `${{ blue: '10.0.0', office: '192.168.77' }[network] ?? '10.9.0'}.${ADDRESSES[name]!}`;

/** In Mbit/s. */
export interface Limits {
  readonly ceiling?: number;
  readonly guarantee?: number;
}

/** Everybody's in the end. */
export const LAST_LIMITS: Readonly<Record<string, Limits>> = {
  a: { ceiling: 100 },
  b: { ceiling: 50 },
  d: { ceiling: 500 },
  e: { ceiling: 200 },
  f: { ceiling: 20, guarantee: 5 },
  g: { ceiling: 10 },
};

function networksOf({ pf, bringsVfs }: FunctionsLife): NetworkSpec[] {
  const none = { internal: false, nat: false } as const;
  const by = (knobs: VfDemand['knobs']): VfDemand => ({ select: { pf }, knobs, ...(bringsVfs && { count: VFS }) });
  return [
    { name: 'fast', kind: 'sriov', pool: '10.9.0.0/24', ...none, vf: by({ vlan: 100, trust: true }) },
    { name: 'slow', kind: 'sriov', pool: '10.9.0.0/24', ...none, vf: by({ vlan: 200, spoofCheck: false }) },
    { name: 'office', kind: 'intranet', pool: '192.168.77.128/25', ...none, by: 'vf', vf: by({ vlan: 0 }) },
    { name: 'blue', kind: 'overlay', pool: '10.0.0.0/24', ...none },
  ];
}

/** These containers, with these limits, on this host; null where there are none. */
function desiredOf(
  life: FunctionsLife,
  names: readonly string[],
  limits: Readonly<Record<string, Limits>>,
): Desired | null {
  if (names.length === 0) return null;
  return {
    memory: null,
    network: { uplink: life.uplink, networks: networksOf(life) },
    egress: { uplinkBitsPerSec: UPLINK_MBIT * MBIT },
    endpoints: names.map((name): DesiredEndpoint => {
      const { ceiling, guarantee } = limits[name] ?? {};
      const egress = {
        ...(ceiling !== undefined && { ceilingBitsPerSec: ceiling * MBIT }),
        ...(guarantee !== undefined && { guaranteeBitsPerSec: guarantee * MBIT }),
      };
      return {
        name,
        attachments: NETWORKS_OF[name]!.map((network) => ({
          network,
          address: addressIn(name, network),
          publish: [],
        })),
        ...(Object.keys(egress).length > 0 && { egress }),
      };
    }),
    containers: [],
  };
}

/** Who is asked for next, no more by VFs than there are, and their limits; now and then nobody. */
export function drawn(random: Random): { readonly names: readonly string[]; readonly limits: Record<string, Limits> } {
  const one = <T>(values: readonly T[]): T => values[random.integer(0, values.length - 1)]!;
  let vfs = 0;
  const isNobody = random.integer(0, 7) === 0;
  const names = Object.keys(NETWORKS_OF).filter(
    (name) => !isNobody && random.integer(0, 9) < 7 && (!isByVf(name) || ++vfs <= VFS),
  );
  const limits = names.map((name): [string, Limits] => {
    const ceiling = one([undefined, 10, 50, 500]);
    const guarantee = isByVf(name) ? undefined : one([undefined, 5, 10]);
    return [name, { ...(ceiling !== undefined && { ceiling }), ...(guarantee !== undefined && { guarantee }) }];
  });
  return { names, limits: Object.fromEntries(limits) };
}

/** Asks for these. What somebody has is another's only when it was given back: first whoever goes, then whoever comes. */
export async function askFor(
  engine: Engine,
  store: Store,
  life: FunctionsLife,
  { names, limits }: ReturnType<typeof drawn>,
): Promise<void> {
  const before = (await readAsked(store, HOST)).desired?.endpoints?.map(({ name }) => name) ?? [];
  const staying = names.filter((name) => before.includes(name));
  if (staying.length < before.length) await engine.ask(desiredOf(life, staying, limits));
  await engine.ask(desiredOf(life, names, limits));
}

/** The host of a life, in the machine's own namespace. */
export const openLife = ({ mark }: FunctionsLife, store: SqliteStore): Promise<LinuxHost> =>
  openLinuxHost({ name: HOST, root: mark, entries, store, network: 'machine' });

export const noPolicy = (): never => {
  throw new Error('no memory is asked for');
};

export const engineOn = (host: LinuxHost, sink: ObservationSink = () => undefined): Engine =>
  new Engine(host, { policies: noPolicy, sink, zeroMs: 0 });
