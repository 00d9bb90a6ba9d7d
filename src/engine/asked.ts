import { samePlainData } from '../host/same.ts';
import type { Store, Transaction } from '../host/store.ts';
import type { MemoryDesired } from '../memory/desired.ts';
import type { EgressDesired } from '../egress/desired.ts';
import type { NetworkDesired } from '../network/desired.ts';
import type { HeldFunctions, PfRecord, Taking, VfRecord } from '../network/functions.ts';
import type { Desired, DesiredContainer, DesiredEndpoint } from './desired.ts';

/** What the store holds of one host: what was asked, and which of the asked containers have come to their end. */
export interface Asked {
  readonly host: string;
  /** Null: nothing is asked of this host. */
  readonly desired: Desired | null;
  readonly ended: ReadonlySet<string>;
  /** VFs in containers' hands, or not yet given back. */
  readonly held: HeldFunctions;
}

/** Hosts may have one store: what is one's own alone stands under its name. */
export const ownPrefix = (host: string): string => `hosts/${host}/`;

const MEMORY = 'memory';
const NETWORK = 'network';
const EGRESS = 'egress';
const CONTAINER = 'containers/';
const ENDPOINT = 'endpoints/';
const ENDED = 'ended/';
const VF = 'vfs/';
const PF = 'pfs/';

/** Reads what was asked of this host, by whichever engine. */
export async function readAsked(store: Store, host: string): Promise<Asked> {
  const prefix = ownPrefix(host);
  const own = (await store.read(prefix)).map(({ key, value }) => ({ key: key.slice(prefix.length), value }));
  const one = (name: string): unknown => {
    const found = own.find(({ key }) => key === name);
    return found === undefined ? undefined : JSON.parse(found.value);
  };
  const all = <T>(folder: string): T[] =>
    own.flatMap(({ key, value }) => (key.startsWith(folder) ? [JSON.parse(value) as T] : []));
  const ended = new Set(own.flatMap(({ key }) => (key.startsWith(ENDED) ? [key.slice(ENDED.length)] : [])));
  const memory = (one(MEMORY) ?? null) as MemoryDesired | null;
  const network = one(NETWORK) as NetworkDesired | undefined;
  const egress = one(EGRESS) as EgressDesired | undefined;
  const endpoints = all<DesiredEndpoint>(ENDPOINT);
  const containers = all<DesiredContainer>(CONTAINER);
  const held = { vfs: all<VfRecord>(VF), pfs: all<PfRecord>(PF) };
  if (memory === null && network === undefined && egress === undefined && endpoints.length + containers.length === 0)
    return { host, desired: null, ended, held };
  return {
    host,
    desired: {
      memory,
      ...(network !== undefined && { network }),
      ...(egress !== undefined && { egress }),
      ...(endpoints.length > 0 && { endpoints }),
      containers,
    },
    ended,
    held,
  };
}

/** The transaction that writes down whose a host's functions are, where nobody else did meanwhile; those that are seen for the first time are written anew. */
export function takingOf({ host, held }: Asked, { vfs, pfs }: Taking): Transaction {
  const prefix = ownPrefix(host);
  const known = new Set(held.vfs.map(vfRecordKey));
  const fresh = [...vfs.map(vfRecordKey).filter((key) => !known.has(key)), ...pfs.map(pfRecordKey)];
  return {
    expect: fresh.map((key) => ({ key: `${prefix}${key}`, revision: 0 })),
    put: [
      ...vfs.map((record) => ({ key: `${prefix}${vfRecordKey(record)}`, value: JSON.stringify(record) })),
      ...pfs.map((record) => ({ key: `${prefix}${pfRecordKey(record)}`, value: JSON.stringify(record) })),
    ],
  };
}

/** The transaction that forgets them: they are as they were. */
export const givingBackOf = ({ host }: Asked, { vfs, pfs }: Taking): Transaction => ({
  remove: [...vfs.map(vfRecordKey), ...pfs.map(pfRecordKey)].map((key) => `${ownPrefix(host)}${key}`),
});

const vfRecordKey = ({ pf, index }: VfRecord): string => `${VF}${pf}/${index}`;
const pfRecordKey = ({ pf }: PfRecord): string => `${PF}${pf}`;

/** The transaction that makes `to` what is asked: only what differs is written; ends of containers no longer asked for are forgotten. */
export function changeOf(from: Asked, to: Desired | null): Transaction {
  const prefix = ownPrefix(from.host);
  const settings = ([MEMORY, NETWORK, EGRESS] as const).map((key) => ({
    key,
    was: from.desired?.[key] ?? undefined,
    is: to?.[key] ?? undefined,
  }));
  const containers = compare(CONTAINER, from.desired?.containers, to?.containers);
  const endpoints = compare(ENDPOINT, from.desired?.endpoints, to?.endpoints);
  const staying = new Set(to?.containers.map(({ name }) => name));
  const put = [
    ...settings
      .filter(({ was, is }) => is !== undefined && !samePlainData(was, is))
      .map(({ key, is }) => ({ key, is })),
    ...containers.put,
    ...endpoints.put,
  ];
  const remove = [
    ...settings.filter(({ was, is }) => was !== undefined && is === undefined).map(({ key }) => key),
    ...containers.remove,
    ...endpoints.remove,
    ...[...from.ended].filter((name) => !staying.has(name)).map((name) => `${ENDED}${name}`),
  ];
  return {
    put: put.map(({ key, is }) => ({ key: `${prefix}${key}`, value: JSON.stringify(is) })),
    remove: remove.map((key) => `${prefix}${key}`),
  };
}

/** Named things of one folder: which to write and which to remove. */
function compare<T extends { readonly name: string }>(
  folder: string,
  was: readonly T[] = [],
  is: readonly T[] = [],
): { put: { key: string; is: T }[]; remove: string[] } {
  const before = new Map(was.map((each) => [each.name, each]));
  const after = new Set(is.map(({ name }) => name));
  return {
    put: is
      .filter((each) => !samePlainData(before.get(each.name), each))
      .map((each) => ({ key: `${folder}${each.name}`, is: each })),
    remove: [...before.keys()].filter((name) => !after.has(name)).map((name) => `${folder}${name}`),
  };
}

/** The transaction that says these containers of a host have ended. */
export const endingOf = (host: string, names: readonly string[]): Transaction => ({
  put: names.map((name) => ({ key: `${ownPrefix(host)}${ENDED}${name}`, value: '{}' })),
});

/** Asked for, and not come to their end. */
export const wantedOf = ({ desired, ended }: Asked): DesiredContainer[] =>
  (desired?.containers ?? []).filter(({ name }) => !ended.has(name));

/** Whoever is to be attached to networks: containers that have not ended, and what somebody else runs. */
export const attachedOf = (asked: Asked): readonly DesiredEndpoint[] => [
  ...wantedOf(asked),
  ...(asked.desired?.endpoints ?? []),
];
