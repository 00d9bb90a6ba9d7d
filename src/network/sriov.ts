import { formatAddress, type Ipv4Prefix, type MacAddress, parsePrefix } from '../host/ipv4.ts';
import type { LinkName } from '../host/links.ts';
import type { RoutingEntry } from '../host/routing.ts';
import { refusalOf, vfDriverOf } from '../host/vf-drivers.ts';
import { type FoundFunctions, type VfCount, vfKey, type VfKnobs, type VfName } from '../host/virtual-functions.ts';
import { useOf } from './cards.ts';
import type { NetworkSpec } from './desired.ts';
import { type HeldFunctions, holderOf, type VfRecord } from './functions.ts';
import { linkKey } from './functions-plan.ts';
import { endpointAlias, isOurs, macOf } from './names.ts';
import type { NetworkObserved } from './observe.ts';
import type { Endpoint, PictureLink, PicturePart, Uplink } from './picture.ts';
import { plain, tableOf } from './segment.ts';

/** A VF as it is to be. */
export interface PictureVf extends VfName {
  readonly knobs: Partial<VfKnobs>;
  /** Where its link is to be; null: bound to no driver, it has none; undefined: somewhere. */
  readonly link: LinkName | null | undefined;
  readonly why: string;
}

/** What a host's virtual functions should look like, as far as they are Plimsoll's business. */
export interface PictureFunctions {
  readonly pfs: readonly (Required<VfCount> & { readonly why: string })[];
  readonly vfs: readonly PictureVf[];
  /** Of VFs that are back, as their links were before. */
  readonly links: readonly PictureLink[];
}

/** No MAC that a PF gives: the VF chooses. */
export const NO_MAC: MacAddress = '00:00:00:00:00:00';

/** What a driver gives a new VF (drivers/net/ethernet/intel/igb/igb_main.c, igb_enable_sriov). */
const FRESH: VfKnobs = {
  mac: NO_MAC,
  vlan: 0,
  qos: 0,
  proto: '802.1Q',
  spoofCheck: true,
  trust: false,
  linkState: 'auto',
  minRateBitsPerSec: 0,
  maxRateBitsPerSec: 0,
};

/** What one container may send by its VF, where the VF itself sees to it. */
export type VfRates = Pick<VfKnobs, 'minRateBitsPerSec' | 'maxRateBitsPerSec'>;

/**
 * Those in a container's hand as it needs them, those given back as they were, and those that a release never came for
 * without the address that is another's now. A VF whose original state nobody has written down yet is not touched.
 */
export function functionsOf(
  endpoints: readonly Endpoint[],
  specs: ReadonlyMap<string, NetworkSpec>,
  held: HeldFunctions,
  observed: NetworkObserved,
): PictureFunctions {
  const found = observed.functions;
  // Only links that nobody but Plimsoll marked are asked about: a VF's own is not known by its name.
  const marked = new Set(observed.links.filter((link) => link.device !== undefined && isOurs(link)).map(linkKey));
  const byHolder = new Map(endpoints.map((endpoint) => [holderOf(endpoint), endpoint]));
  const wanted = held.vfs.filter((record) => byHolder.has(holderOf(record)));
  const drivers = new Map(found.physical.map(({ pf, driver }) => [pf, driver]));
  const still = new Set(wanted.map(({ pf }) => pf));
  const givenBack = held.vfs.filter((record) => !byHolder.has(holderOf(record)));
  return {
    pfs: held.pfs
      .filter(
        ({ pf, takeDownLink }) =>
          still.has(pf) || (isBare(pf, found) && (takeDownLink || useOf(pf, observed) === null)),
      )
      .map(({ pf, count, before, autoprobe }) =>
        still.has(pf)
          ? { pf, count, autoprobe, why: 'its network asks for so many VFs' }
          : { pf, count: before, autoprobe, why: 'it had so many before' },
      ),
    vfs: [
      ...wanted.flatMap((record): PictureVf[] => {
        const endpoint = byHolder.get(holderOf(record))!;
        const { container, network, namespace, link, mac, vfRates } = endpoint;
        if (record.original === undefined) return [];
        const { knobs } = specs.get(network)!.vf!;
        return [
          {
            ...nameOf(record),
            knobs: { ...record.original.knobs, ...knobs, ...bothOf(knobs, vfRates), mac },
            link: { namespace, name: link },
            why: `${container} in network ${network}, ${endpoint.address}`,
          },
        ];
      }),
      ...givenBack.flatMap((record): PictureVf[] => {
        if (record.original === undefined) return [];
        const name = nameBack(record, held, observed);
        const knobs = takenBack(record, drivers.get(record.pf));
        return [
          {
            ...nameOf(record),
            knobs,
            link: name == null ? name : { namespace: '', name },
            why: `given back by ${record.container}: as it was`,
          },
        ];
      }),
      ...strays(endpoints, held, found, marked).map((vf): PictureVf => ({
        ...nameOf(vf),
        knobs: {
          ...FRESH,
          mac: macBack(vf, drivers.get(vf.pf), undefined),
          spoofCheck: vfDriverOf(drivers.get(vf.pf) ?? '')?.checksSpoofing ?? true,
        },
        link: undefined,
        why: 'nobody came back for it',
      })),
    ],
    links: givenBack.flatMap((record): PictureLink[] => {
      const name = nameBack(record, held, observed);
      if (name == null) return [];
      const { settings } = record.original!.link!;
      return [{ namespace: '', name, settings, why: 'as it was before a container had it' }];
    }),
  };
}

/** The name that a VF's link had; null: it had no link; undefined: another has the name by now, and the link stays as it comes. */
function nameBack(
  { original }: VfRecord,
  held: HeldFunctions,
  { links, functions }: NetworkObserved,
): string | null | undefined {
  const name = original?.link?.name;
  if (name === undefined) return null;
  // Another VF of ours is on its way to where it belongs.
  const ours = new Set(held.vfs.map(vfKey));
  const passing = functions.virtual.filter((vf) => ours.has(vfKey(vf))).map(({ pciAddress }) => pciAddress);
  const holder = links.find((link) => link.namespace === '' && link.name === name);
  return holder === undefined || passing.includes(holder.device ?? '') ? name : undefined;
}

/** A network's limit and a container's: the lower of both holds, and the higher of what is guaranteed. */
function bothOf(knobs: Partial<VfKnobs>, rates: Partial<VfRates> = {}): Partial<VfRates> {
  const ceilings = [knobs.maxRateBitsPerSec ?? 0, rates.maxRateBitsPerSec ?? 0].filter((rate) => rate > 0);
  const guarantees = [knobs.minRateBitsPerSec ?? 0, rates.minRateBitsPerSec ?? 0].filter((rate) => rate > 0);
  return {
    ...(ceilings.length > 0 && { maxRateBitsPerSec: Math.min(...ceilings) }),
    ...(guarantees.length > 0 && { minRateBitsPerSec: Math.max(...guarantees) }),
  };
}

/** A MAC that a PF gave some drivers do not take back: then the VF has the one that it had chosen itself. */
const macBack = (vf: VfName, driver: string | undefined, chosen: MacAddress | undefined): MacAddress =>
  refusalOf(driver ?? '', 'mac', NO_MAC) === null ? NO_MAC : (chosen ?? macOf(`nobody's ${vfKey(vf)}`));

function takenBack({ original, ...vf }: VfRecord, driver: string | undefined): VfKnobs {
  const { knobs, link } = original!;
  return knobs.mac === NO_MAC ? { ...knobs, mac: macBack(vf, driver, link?.mac) } : knobs;
}

const nameOf = ({ pf, index }: VfName): VfName => ({ pf, index });

/** None is bound, to us or to somebody else: only then can a PF lose its VFs. */
const isBare = (pf: string, { virtual }: FoundFunctions): boolean =>
  virtual.every((vf) => vf.pf !== pf || vf.driver === null);

/**
 * VFs that no record speaks for and that have what is Plimsoll's: a MAC that is leased to another, or our mark. A release
 * that never ran leaves such (sriov-network-device-plugin#685), and so does a lost store.
 */
function strays(
  endpoints: readonly Endpoint[],
  { vfs }: HeldFunctions,
  { virtual }: FoundFunctions,
  marked: ReadonlySet<string>,
): readonly VfName[] {
  const known = new Set(vfs.map(vfKey));
  const macs = new Set(endpoints.map(({ mac }) => mac));
  return virtual.filter(
    (vf) =>
      !known.has(vfKey(vf)) &&
      (macs.has(vf.mac) || (vf.link !== null && marked.has(`${vf.link.namespace}\n${vf.link.name}`))),
  );
}

/** A container's interface by a VF: on the wire itself, past the host's filter. */
export function vfPart(endpoint: Endpoint, spec: NetworkSpec, uplink: Uplink | null): PicturePart {
  const { container, namespace, network, link, address, secondary } = endpoint;
  const inside = { namespace, link } as const;
  const isIntranet = spec.kind === 'intranet';
  const mtu = spec.mtu ?? (isIntranet && uplink !== null ? uplink.mtu : 1500);
  return {
    links: [
      {
        namespace,
        name: link,
        kind: { type: 'vf' },
        // Its MAC comes with its driver: to set one on it is refused where its PF has given one.
        settings: { ...plain(mtu), alias: endpointAlias(network, container), forwarding: false },
        why: `${container} in network ${network}, ${address}`,
      },
    ],
    entries: isIntranet && uplink !== null ? onTheUnderlay(endpoint, uplink) : ofItsOwn(),
    announcements: [{ ...inside, address }],
  };

  function ofItsOwn(): RoutingEntry[] {
    const { gateway } = spec;
    return [
      { kind: 'address', ...inside, prefix: `${address}/${parsePrefix(spec.pool).bits}` },
      ...(gateway === undefined || secondary
        ? []
        : [{ kind: 'route', ...inside, to: '0.0.0.0/0', via: gateway } satisfies RoutingEntry]),
    ];
  }
}

/** An address of the underlay on a link that is on the wire itself. */
export function onTheUnderlay({ namespace, link, address, secondary }: Endpoint, uplink: Uplink): RoutingEntry[] {
  const inside = { namespace, link } as const;
  const table = tableOf(link);
  const { gateway: via } = uplink;
  const out = { ...inside, to: '0.0.0.0/0', source: address } as const;
  return [
    // Alone, so that what the container begins goes where it would without it: only replies know the way to the wire.
    { kind: 'address', ...inside, prefix: `${address}/32` },
    { kind: 'rule', namespace, from: address, table },
    // Whoever is on the wire is answered directly: the next router need not send back what came from beside it.
    { kind: 'route', ...inside, to: underlayOf(uplink), source: address, table },
    ...(via === undefined ? [] : [{ kind: 'route', ...out, via, table } satisfies RoutingEntry]),
    ...(secondary || via === undefined ? [] : [{ kind: 'route', ...out, via } satisfies RoutingEntry]),
  ];
}

const underlayOf = ({ address, bits }: Uplink): Ipv4Prefix =>
  `${formatAddress(parsePrefix(`${address}/${bits}`).first)}/${bits}`;
