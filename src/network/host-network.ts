import type { NamespaceName } from '../host/namespaces.ts';
import { FRAME } from './frame.ts';
import type { NetworkSpec } from './desired.ts';
import { type HeldFunctions, NOTHING_HELD } from './functions.ts';
import { intranetPart } from './intranet.ts';
import type { Endpoint, HostNetwork, Picture, PictureLink, PicturePart, Uplink } from './picture.ts';
import type { NetworkObserved } from './observe.ts';
import { endpointPart, networkPart } from './segment.ts';
import { functionsOf, vfPart } from './sriov.ts';

/** Everything that a host's networks consist of. */
export interface HostNetworks {
  readonly uplink: Uplink | null;
  /** Those that have an endpoint here. */
  readonly networks: readonly HostNetwork[];
  readonly endpoints: readonly Endpoint[];
  /** Namespaces for containers that have no endpoint, too. */
  readonly namespaces: readonly NamespaceName[];
  /** VFs in containers' hands, or not yet given back. */
  readonly held: HeldFunctions;
}

/** No networks at all. */
export const NO_NETWORKS: HostNetworks = {
  uplink: null,
  networks: [],
  endpoints: [],
  namespaces: [],
  held: NOTHING_HELD,
};

/** What it all should look like on the host. */
export function pictureOf(
  { uplink, networks, endpoints, namespaces, held }: HostNetworks,
  observed: NetworkObserved,
): Picture {
  const specs = new Map(networks.map(({ spec }) => [spec.name, spec]));
  const parts: PicturePart[] = [
    ...networks.filter(({ spec }) => isBridged(spec)).map((network) => networkPart(network, uplink)),
    ...endpoints.flatMap((endpoint): PicturePart[] => {
      const spec = specs.get(endpoint.network);
      if (spec === undefined) return [];
      if (spec.kind === 'sriov') return [vfPart(endpoint, spec, uplink)];
      if (spec.kind !== 'intranet') return [endpointPart(endpoint, spec, uplink)];
      return uplink === null ? [] : [intranetPart(endpoint, spec, uplink)];
    }),
  ];
  const isRouted = networks.some(({ spec }) => (spec.kind === 'intranet' && spec.by !== 'vf') || spec.nat);
  const functions = functionsOf(endpoints, specs, held, observed);
  return {
    namespaces,
    functions,
    announcements: parts.flatMap(({ announcements = [] }) => announcements),
    links: [
      ...functions.links,
      ...(uplink !== null && isRouted ? [forwarding(uplink)] : []),
      ...parts.flatMap(({ links = [] }) => links),
    ],
    entries: parts.flatMap(({ entries = [] }) => entries),
    frame: networks.length === 0 ? null : FRAME,
    elements: distinct(parts.flatMap(({ elements = [] }) => elements)),
  };
}

const isBridged = ({ kind }: NetworkSpec): boolean => kind === 'bridge' || kind === 'overlay';

/** Replies come in by the uplink, and are routed on. Only this link is asked for: what else the host routes is its own. */
const forwarding = ({ link }: Uplink): PictureLink => ({
  namespace: '',
  name: link,
  settings: { forwarding: true },
  why: 'what leaves by the host has its replies routed back',
});

/** Two networks may have the same peers. */
function distinct<T>(values: readonly T[]): T[] {
  return [...new Map(values.map((value) => [JSON.stringify(value), value])).values()];
}
