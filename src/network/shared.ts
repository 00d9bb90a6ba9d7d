import { formatAddress, type Ipv4Address, type MacAddress, parseAddress, parsePrefix } from '../host/ipv4.ts';
import { samePlainData } from '../host/same.ts';
import type { SessionId, StoreEntry, Transaction } from '../host/store.ts';
import { type AttachedContainer, type Attachment, hasGateway, NetworkError, type NetworkSpec } from './desired.ts';
import { macOf } from './names.ts';

/** What hosts share of a network; of a bridge network, which is each host's own, a record for each. */
export interface NetworkRecord {
  readonly spec: NetworkSpec;
  /** Of an overlay: its own, of 24 bits. */
  readonly vni?: number;
  /** Those that use it; with the last of them it is gone. */
  readonly hosts: readonly string[];
}

/** An address in somebody's hand. It is in the store before the address is on any link, and as long as it is. */
export interface Lease {
  readonly network: string;
  readonly host: string;
  readonly container: string;
  readonly address: Ipv4Address;
  readonly mac: MacAddress;
  /** Where the host's tunnels end, of an overlay. */
  readonly tunnelAddress?: Ipv4Address;
}

/** All that hosts share, as read. */
export interface Shared {
  readonly networks: ReadonlyMap<string, Revised<NetworkRecord>>;
  /** By key. */
  readonly leases: ReadonlyMap<string, Revised<Lease>>;
  /** The same leases by who holds them. */
  readonly byHolder: ReadonlyMap<string, readonly Revised<Lease>[]>;
  readonly vnis: ReadonlySet<number>;
  readonly macs: ReadonlySet<MacAddress>;
}

interface Revised<T> {
  readonly value: T;
  readonly revision: number;
}

/** Who asks, and for what. */
export interface Claim {
  readonly host: string;
  readonly networks: readonly NetworkSpec[];
  readonly containers: readonly AttachedContainer[];
  readonly tunnelAddress?: Ipv4Address;
  /** What is leased lives as long as this. */
  readonly session?: SessionId;
}

const NETWORK = 'networks/';
const LEASE = 'leases/';
const VNI = 'vnis/';
const MAC = 'macs/';

/** Where what hosts share begins in the store. */
export const SHARED_PREFIXES = [NETWORK, LEASE, VNI, MAC] as const;

/** VLANs end at 4095: a VNI above cannot be mistaken for one. */
const VNI_MIN = 4096;
const VNI_MAX = 2 ** 24 - 1;

/**
 * Where an address must be one's alone. A bridge network is each host's own; intranet addresses are all of one underlay,
 * whatever their networks are called. No name has an `@` in it: see `checkNetworks`.
 */
export const segmentOf = ({ kind, name }: NetworkSpec, host: string): string =>
  ({ bridge: `${name}@${host}`, overlay: name, sriov: name, intranet: '@underlay' })[kind];

/** Of a bridge network each host has its own record; the others are known everywhere by their names. */
const recordOf = ({ kind, name }: NetworkSpec, host: string): string => (kind === 'bridge' ? `${name}@${host}` : name);

const leaseKey = (spec: NetworkSpec, host: string, address: Ipv4Address): string =>
  `${LEASE}${segmentOf(spec, host)}/${address}`;

/** What was read under `SHARED_PREFIXES`. */
export function sharedOf(entries: readonly StoreEntry[]): Shared {
  const under = <T>(prefix: string): [string, Revised<T>][] =>
    entries
      .filter(({ key }) => key.startsWith(prefix))
      .map(({ key, value, revision }) => [key, { value: JSON.parse(value) as T, revision }]);
  const leases = under<Lease>(LEASE);
  const records = under<NetworkRecord>(NETWORK);
  return {
    networks: new Map(records.map(([key, record]) => [key.slice(NETWORK.length), record])),
    leases: new Map(leases),
    byHolder: Map.groupBy(
      leases.map(([, lease]) => lease),
      ({ value }) => holderKey(value.host, value.container),
    ),
    vnis: new Set(under(VNI).map(([key]) => Number(key.slice(VNI.length)))),
    macs: new Set(under(MAC).map(([key]) => key.slice(MAC.length))),
  };
}

/** The lease of this attachment, where there is one that will do. */
export const leaseOf = (
  shared: Shared,
  host: string,
  container: string,
  { network, address }: Attachment,
): Revised<Lease> | undefined =>
  shared.byHolder
    .get(holderKey(host, container))
    ?.find(({ value }) => value.network === network && (address === undefined || value.address === address));

const holderKey = (host: string, container: string): string => `${host}/${container}`;

/**
 * What must be written so that everything asked for is this host's: its networks, with a VNI for each overlay, and an
 * address and a MAC for each attachment. Empty where it is. Every key is expected as it was read: of two hosts that reach
 * for one address, one commits. @throws NetworkError where there is none left, or it is another's; where `onRefusal` is
 * given, it is told of a container that cannot have what it asks for, and the others have it.
 */
export function claim(shared: Shared, asked: Claim, onRefusal?: (error: NetworkError) => void): Transaction {
  const expect: { key: string; revision: number }[] = [];
  const put: { key: string; value: string; session?: SessionId }[] = [];
  const write = (key: string, value: unknown, revision: number, session?: SessionId): void => {
    expect.push({ key, revision });
    put.push({ key, value: JSON.stringify(value), ...(session !== undefined && { session }) });
  };

  const vnis = new Set(shared.vnis);
  for (const spec of asked.networks) {
    const name = recordOf(spec, asked.host);
    const found = shared.networks.get(name);
    if (found === undefined) {
      const vni = spec.kind === 'overlay' ? freeVni(vnis) : undefined;
      if (vni !== undefined) {
        vnis.add(vni);
        write(`${VNI}${vni}`, spec.name, 0);
      }
      write(NETWORK + name, { spec, ...(vni !== undefined && { vni }), hosts: [asked.host] }, 0);
      continue;
    }
    const { value, revision } = found;
    if (!samePlainData(value.spec, spec))
      throw new NetworkError(
        `network ${spec.name}`,
        `${value.hosts.join(', ')} has it otherwise (${described(value.spec)}, here ${described(spec)}): ${
          value.hosts.length === 1 && value.hosts[0] === asked.host ? 'remove it first' : 'choose another name'
        }`,
      );
    if (!value.hosts.includes(asked.host))
      write(NETWORK + name, { ...value, hosts: [...value.hosts, asked.host].toSorted() }, revision);
  }

  const specs = new Map(asked.networks.map((spec) => [spec.name, spec]));
  const taken = new Map([...shared.leases].map(([key, { value }]) => [key, value]));
  const macs = new Set(shared.macs);
  const searched = new Map<string, number>();
  for (const { name: container, attachments = [] } of asked.containers) {
    for (const attachment of attachments) {
      const spec = specs.get(attachment.network);
      if (spec === undefined)
        throw new NetworkError(container, `there is no network ${attachment.network} to attach it to`);
      const tunnel =
        spec.kind === 'overlay' && asked.tunnelAddress !== undefined ? { tunnelAddress: asked.tunnelAddress } : {};
      const mine = leaseOf(shared, asked.host, container, attachment);
      if (mine !== undefined) {
        const { value, revision } = mine;
        // While nothing tells where its tunnels end, they end where they did.
        if (tunnel.tunnelAddress !== undefined && value.tunnelAddress !== tunnel.tunnelAddress)
          write(leaseKey(spec, asked.host, value.address), { ...value, ...tunnel }, revision, asked.session);
        continue;
      }
      let address: Ipv4Address;
      try {
        address = freeAddress(spec, asked.host, container, attachment, taken, searched);
      } catch (error) {
        if (onRefusal === undefined || !(error instanceof NetworkError)) throw error;
        onRefusal(error);
        continue;
      }
      const key = leaseKey(spec, asked.host, address);
      const mac = freeMac(key, macs);
      macs.add(mac);
      const lease: Lease = { network: spec.name, host: asked.host, container, address, mac, ...tunnel };
      taken.set(key, lease);
      write(key, lease, 0, asked.session);
      write(MAC + mac, key, 0, asked.session);
    }
  }
  return { expect, put };
}

/** What must be removed so that nothing is this host's that it does not ask for any more. Empty where nothing is. */
export function release(shared: Shared, asked: Claim): Transaction {
  const wanted = new Set(
    asked.containers.flatMap(({ name, attachments = [] }) =>
      attachments.flatMap((attachment) => leaseOf(shared, asked.host, name, attachment)?.value ?? []),
    ),
  );
  const networks = new Set(asked.networks.map((spec) => recordOf(spec, asked.host)));
  const expect: { key: string; revision: number }[] = [];
  const put: { key: string; value: string }[] = [];
  const remove: string[] = [];
  for (const [key, { value, revision }] of shared.leases) {
    if (value.host !== asked.host || wanted.has(value)) continue;
    expect.push({ key, revision });
    remove.push(key, MAC + value.mac);
  }
  for (const [name, { value, revision }] of shared.networks) {
    if (networks.has(name) || !value.hosts.includes(asked.host)) continue;
    const key = NETWORK + name;
    const hosts = value.hosts.filter((host) => host !== asked.host);
    expect.push({ key, revision });
    if (hosts.length > 0) put.push({ key, value: JSON.stringify({ ...value, hosts }) });
    else remove.push(key, ...(value.vni === undefined ? [] : [`${VNI}${value.vni}`]));
  }
  return { expect, put, remove };
}

/** Would it write anything? */
export const isEmpty = ({ put = [], remove = [] }: Transaction): boolean => put.length === 0 && remove.length === 0;

const described = ({ kind, pool, internal, nat }: NetworkSpec): string =>
  `${kind} ${pool}${internal ? ' internal' : ''}${nat ? ' nat' : ''}`;

function freeVni(taken: ReadonlySet<number>): number {
  for (let vni = VNI_MIN; vni <= VNI_MAX; vni++) if (!taken.has(vni)) return vni;
  throw new NetworkError('overlays', `all ${VNI_MAX - VNI_MIN + 1} VNIs are taken: remove a network first`);
}

function freeMac(label: string, taken: ReadonlySet<MacAddress>): MacAddress {
  for (let attempt = 0; ; attempt++) {
    const mac = macOf(label, attempt);
    if (!taken.has(mac)) return mac;
  }
}

/**
 * The address asked for, or the lowest that is nobody's. The first of a segment with a gateway is the gateway's.
 * `searched`: by network the first that is still to be looked at, so that a thousand are not looked for a thousand times.
 */
function freeAddress(
  spec: NetworkSpec,
  host: string,
  container: string,
  { address: wanted }: Attachment,
  taken: ReadonlyMap<string, Lease>,
  searched: Map<string, number>,
): Ipv4Address {
  if (wanted !== undefined) {
    const holder = taken.get(leaseKey(spec, host, wanted));
    if (holder !== undefined)
      throw new NetworkError(
        container,
        `address ${wanted} of network ${spec.name} is in use by ${holder.container} on ${holder.host}: choose another`,
      );
    return wanted;
  }
  const { lowest, highest } = usable(spec);
  for (let number = searched.get(spec.name) ?? lowest; number <= highest; number++) {
    const address = formatAddress(number);
    searched.set(spec.name, number + 1);
    if (!taken.has(leaseKey(spec, host, address))) return address;
  }
  throw new NetworkError(
    container,
    `network ${spec.name} has no address left: all ${Math.max(0, highest - lowest + 1)} of ${spec.pool} are leased; detach something, or give it a larger pool`,
  );
}

/** The addresses of a network that containers may have, as numbers: not the network's own, its broadcast, its gateway. */
export function usable(spec: NetworkSpec): { readonly lowest: number; readonly highest: number } {
  const { first, last, bits } = parsePrefix(spec.pool);
  // Of an intranet the pool is part of a larger network, and RFC 3021 gives both addresses of a /31 away.
  if (spec.kind === 'intranet' || (bits >= 31 && !hasGateway(spec))) return { lowest: first, highest: last };
  return { lowest: first + (hasGateway(spec) ? 2 : 1), highest: last - 1 };
}

/** May a container have this address? @throws AddressError */
export function isUsable(spec: NetworkSpec, address: Ipv4Address): boolean {
  const { lowest, highest } = usable(spec);
  const number = parseAddress(address);
  return number >= lowest && number <= highest;
}
