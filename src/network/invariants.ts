import type { LinkState } from '../host/links.ts';
import { vfKey } from '../host/virtual-functions.ts';
import { endpointOf } from './names.ts';
import type { NetworkObserved } from './observe.ts';
import { segmentOf, type Shared } from './shared.ts';
import { NO_MAC } from './sriov.ts';

/** A host of several, as it was observed. */
export interface ObservedHost {
  readonly host: string;
  readonly network: NetworkObserved;
}

/** Something that must hold of a host's networks and does not. */
export interface BrokenNetwork {
  readonly host: string;
  readonly about: string;
  readonly message: string;
}

/** A container's interface, as it is on a host. */
interface Interface {
  readonly host: string;
  readonly link: LinkState;
  readonly network: string;
  readonly container: string;
  readonly address: string;
}

/**
 * What must hold at every moment, between any two steps of any host: no MAC, no address, no mark in two hands, nothing on a
 * link that is not leased, no link without the filter that holds it back. A host that is `away`, taken for dead by the
 * others, keeps what it had until it finds out: it does not count meanwhile.
 */
export function brokenNetworks(
  hosts: readonly ObservedHost[],
  shared: Shared,
  away: ReadonlySet<string> = new Set(),
): BrokenNetwork[] {
  const interfaces = hosts.filter(({ host }) => !away.has(host)).flatMap(interfacesOf);
  return [
    ...interfaces.flatMap((each) => unleased(each, shared)),
    ...inTwoHands(interfaces, ({ link }) => [`MAC ${link.mac}`]),
    ...inTwoHands(interfaces, ({ host, network, address }) => {
      const { spec } = (shared.networks.get(network) ?? shared.networks.get(`${network}@${host}`))?.value ?? {};
      return spec === undefined ? [] : [`address ${address} of ${segmentOf(spec, host)}`];
    }),
    ...hosts.flatMap(unfiltered),
    ...hosts.flatMap(markedAlike),
    ...hosts.flatMap(functionsAlike),
  ];
}

/** The mark of an interface says of which network and container it is. */
function interfacesOf({ host, network: { links, entries } }: ObservedHost): Interface[] {
  const marked = new Map(
    links.flatMap((link) => {
      const endpoint = link.namespace === '' ? null : endpointOf(link.alias);
      return endpoint === null ? [] : [[`${link.namespace}\n${link.name}`, { host, link, ...endpoint }] as const];
    }),
  );
  return entries.flatMap((entry) => {
    const found = entry.kind === 'address' ? marked.get(`${entry.namespace}\n${entry.link}`) : undefined;
    return found === undefined || entry.kind !== 'address' ? [] : [{ ...found, address: entry.prefix.split('/')[0]! }];
  });
}

function unleased({ host, link, network, container, address }: Interface, { byHolder }: Shared): BrokenNetwork[] {
  const isLeased = byHolder
    .get(`${host}/${container}`)
    ?.some(({ value }) => value.network === network && value.address === address && value.mac === link.mac);
  if (isLeased === true) return [];
  return [
    { host, about: container, message: `has ${address} and ${link.mac} in ${network}, which are not leased to it` },
  ];
}

function inTwoHands(interfaces: readonly Interface[], keysOf: (each: Interface) => readonly string[]): BrokenNetwork[] {
  const holders = new Map<string, Interface>();
  return interfaces.flatMap((each) =>
    keysOf(each).flatMap((key): BrokenNetwork[] => {
      const holder = holders.get(key);
      holders.set(key, each);
      if (holder === undefined) return [];
      return [
        {
          host: each.host,
          about: each.container,
          message: `has ${key}, and so has ${holder.container} on ${holder.host}`,
        },
      ];
    }),
  );
}

/** A port that is up is in the sets by which the filter knows it. */
function unfiltered({ host, network: { links, firewall } }: ObservedHost): BrokenNetwork[] {
  const known = new Set(
    firewall.elements.flatMap(({ family, set, key }) =>
      (family === 'bridge' && set === 'ports') || (family === 'inet' && set === 'serving') ? [key] : [],
    ),
  );
  return links.flatMap(({ namespace, name, alias, up }) => {
    const endpoint = namespace === '' && up ? endpointOf(alias) : null;
    if (endpoint === null || known.has(name)) return [];
    const { network, container } = endpoint;
    return [
      { host, about: container, message: `its port ${name} in ${network} is up, and the filter does not know it` },
    ];
  });
}

/** A mark is one container's: by it its packets find their class. */
function markedAlike({ host, network: { links, firewall } }: ObservedHost): BrokenNetwork[] {
  const owners = new Map(
    links.flatMap(({ namespace, name, alias }) => {
      const endpoint = namespace === '' ? endpointOf(alias) : null;
      return endpoint === null ? [] : [[name, endpoint.container] as const];
    }),
  );
  const holders = new Map<string, string>();
  return firewall.elements.flatMap(({ set, key, value }): BrokenNetwork[] => {
    const owner = set === 'marks' && value !== undefined ? owners.get(key.split(' . ')[0]!) : undefined;
    if (owner === undefined) return [];
    const holder = holders.get(value!);
    holders.set(value!, owner);
    if (holder === undefined || holder === owner) return [];
    return [{ host, about: owner, message: `its packets are marked ${value}, and so are those of ${holder}` }];
  });
}

/** No two VFs of a host that can send have one MAC. */
function functionsAlike({ host, network: { functions } }: ObservedHost): BrokenNetwork[] {
  const holders = new Map<string, string>();
  return functions.virtual.flatMap((vf): BrokenNetwork[] => {
    if (vf.driver === null || vf.mac === NO_MAC) return [];
    const holder = holders.get(vf.mac);
    holders.set(vf.mac, vfKey(vf));
    return holder === undefined ? [] : [{ host, about: vfKey(vf), message: `has MAC ${vf.mac}, and so has ${holder}` }];
  });
}
